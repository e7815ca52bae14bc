// SPDX-License-Identifier: BSD-2-Clause
//! The regions of a device, each in an address range of its own: what SHMEM_MAP and SHMEM_UNMAP are answered by.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use oriel_peers::PAGE;
use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags};
use vhost::vhost_user::{HandlerResult, VhostUserFrontendReqHandlerMut};

fn refusal<T>(error: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(error))
}

/// A range that is reserved once; where nothing is mapped it reads zeros.
struct Window {
    address: *mut u8,
    size: u64,
    /// Length by offset.
    mappings: BTreeMap<u64, u64>,
}

// SAFETY: the address is the window's own, and only its owner gets at it.
unsafe impl Send for Window {}

const HOLE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

impl Window {
    fn new(size: u64) -> io::Result<Self> {
        // SAFETY: the kernel chooses where, so that nothing else is touched.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), size as usize, libc::PROT_READ, HOLE, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Window { address: address.cast(), size, mappings: BTreeMap::new() })
    }

    /// Replace a range of whole pages, which the caller has found to be inside.
    fn place(&mut self, range: (u64, u64), access: i32, flags: i32, fd: i32, fd_offset: u64) -> io::Result<()> {
        let Ok(fd_offset) = fd_offset.try_into() else { return refusal(libc::EOVERFLOW) };
        // SAFETY: the range is inside the window, of which nobody holds a reference.
        let placed = unsafe {
            let at = self.address.add(range.0 as usize);
            libc::mmap(at.cast(), range.1 as usize, access, flags | libc::MAP_FIXED, fd, fd_offset)
        };
        if placed == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn range(&self, request: &VhostUserMMap) -> io::Result<(u64, u64)> {
        let (offset, len) = (request.shm_offset, request.len);
        if !offset.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) {
            return refusal(libc::EINVAL);
        }
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok((offset, len)),
            _ => refusal(libc::ERANGE),
        }
    }

    fn map(&mut self, request: &VhostUserMMap, fd: i32) -> io::Result<()> {
        let (offset, len) = self.range(request)?;
        if let Some((start, size)) = self.mappings.range(..offset + len).next_back() {
            if start + size > offset {
                return refusal(libc::EEXIST);
            }
        }
        // SAFETY: it is open as long as the request is handled.
        let file = std::fs::File::from(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
        // What is behind the end of a file kills who reads it.
        match request.fd_offset.checked_add(len) {
            Some(end) if end <= file.metadata()?.len() => {}
            _ => return refusal(libc::ENXIO),
        }
        let writable = request.flags & VhostUserMMapFlags::WRITABLE.bits() != 0;
        let access = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        self.place((offset, len), access, libc::MAP_SHARED, fd, request.fd_offset)?;
        self.mappings.insert(offset, len);
        Ok(())
    }

    fn unmap(&mut self, request: &VhostUserMMap) -> io::Result<()> {
        let (offset, len) = self.range(request)?;
        if self.mappings.get(&offset) != Some(&len) {
            return refusal(libc::ENOENT);
        }
        self.place((offset, len), libc::PROT_READ, HOLE, -1, 0)?;
        self.mappings.remove(&offset);
        Ok(())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the range is the window's own.
        unsafe { libc::munmap(self.address.cast(), self.size as usize) };
    }
}

#[derive(Default)]
pub struct Windows {
    by_shmid: BTreeMap<u8, Window>,
    /// Requests that were handled, and those of them that were turned down.
    pub served: u32,
    pub refused: u32,
}

impl Windows {
    pub fn add(&mut self, shmid: u8, size: u64) -> io::Result<()> {
        self.by_shmid.insert(shmid, Window::new(size)?);
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.by_shmid.values().map(|window| window.mappings.len()).sum()
    }

    fn address(&self, shmid: u8, offset: u64) -> *mut u8 {
        let window = &self.by_shmid[&shmid];
        assert!(offset < window.size);
        // SAFETY: this was just looked at.
        unsafe { window.address.add(offset as usize) }
    }

    pub fn byte(&self, shmid: u8, offset: u64) -> u8 {
        // SAFETY: all of a window can be read.
        unsafe { self.address(shmid, offset).read_volatile() }
    }

    /// Only where a mapping is read-write.
    pub fn set_byte(&mut self, shmid: u8, offset: u64, value: u8) {
        // SAFETY: it is, so the test says.
        unsafe { self.address(shmid, offset).write_volatile(value) };
    }

    fn handle<F>(&mut self, request: &VhostUserMMap, change: F) -> HandlerResult<u64>
    where
        F: FnOnce(&mut Window) -> io::Result<()>,
    {
        let result = match self.by_shmid.get_mut(&request.shmid) {
            Some(window) => change(window),
            None => refusal(libc::ENODEV),
        };
        self.served += 1;
        self.refused += u32::from(result.is_err());
        result.map(|()| 0)
    }
}

impl VhostUserFrontendReqHandlerMut for Windows {
    fn shmem_map(&mut self, request: &VhostUserMMap, fd: &dyn AsRawFd) -> HandlerResult<u64> {
        self.handle(request, |window| window.map(request, fd.as_raw_fd()))
    }

    fn shmem_unmap(&mut self, request: &VhostUserMMap) -> HandlerResult<u64> {
        self.handle(request, |window| window.unmap(request))
    }
}
