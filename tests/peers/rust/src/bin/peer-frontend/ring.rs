// SPDX-License-Identifier: BSD-2-Clause
//! Guest memory with one split virtqueue in it, and one buffer that is used again and again.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use oriel_peers::{check, Request};
use vhost::{VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{ByteValued, Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

pub const SIZE: u16 = 16;

/// Where the memory is for the guest: elsewhere than for this process, so that a mistaken one is found.
const BASE: u64 = 0x4000_0000;
const DESCRIPTORS: u64 = BASE;
const AVAILABLE: u64 = BASE + 0x1000;
const USED: u64 = BASE + 0x2000;
const READABLE: u64 = BASE + 0x10000;
const WRITABLE: u64 = BASE + 0x20000;
const BUFFER: usize = 0x10000;
const MEMORY: usize = 0x30000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

// SAFETY: plain integers without padding.
unsafe impl ByteValued for Descriptor {}

pub struct Ring {
    memory: GuestMemoryMmap,
    submitted: u16,
    pub kick: EventFd,
    pub call: EventFd,
}

fn at(address: u64) -> GuestAddress {
    GuestAddress(address)
}

impl Ring {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the name is a string with its end, and the new descriptor is nobody else's.
        let file = unsafe { File::from_raw_fd(check(libc::memfd_create(c"guest".as_ptr(), libc::MFD_CLOEXEC))?) };
        file.set_len(MEMORY as u64)?;
        let range = (at(BASE), MEMORY, Some(FileOffset::new(file, 0)));
        Ok(Ring {
            memory: GuestMemoryMmap::from_ranges_with_files([range]).map_err(io::Error::other)?,
            submitted: 0,
            kick: EventFd::new(EFD_NONBLOCK)?,
            call: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    pub fn region(&self) -> vhost::Result<VhostUserMemoryRegionInfo> {
        VhostUserMemoryRegionInfo::from_guest_region(self.memory.iter().next().expect("there is one"))
    }

    /// In this process's addresses, as the protocol has them.
    pub fn config(&self) -> VringConfigData {
        let start = self.memory.iter().next().expect("there is one").as_ptr() as u64;
        VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            desc_table_addr: start + (DESCRIPTORS - BASE),
            avail_ring_addr: start + (AVAILABLE - BASE),
            used_ring_addr: start + (USED - BASE),
            ..VringConfigData::default()
        }
    }

    /// How many requests the device was given.
    pub fn submitted(&self) -> u16 {
        self.submitted
    }

    pub fn submit(&mut self, request: &Request, data: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
        let len = size_of::<Request>() + data.len();
        assert!(len <= BUFFER);
        let slot = u64::from(self.submitted % SIZE);
        self.memory.write_obj(*request, at(READABLE))?;
        self.memory.write_slice(data, at(READABLE + size_of::<Request>() as u64))?;
        let readable = Descriptor { address: READABLE, len: len as u32, flags: NEXT, next: 1 };
        let writable = Descriptor { address: WRITABLE, len: BUFFER as u32, flags: WRITE, next: 0 };
        self.memory.write_obj(readable, at(DESCRIPTORS))?;
        self.memory.write_obj(writable, at(DESCRIPTORS + size_of::<Descriptor>() as u64))?;
        self.memory.write_obj(0u16, at(AVAILABLE + 4 + 2 * slot))?;
        self.submitted = self.submitted.wrapping_add(1);
        // After all the above, which the device reads when it has seen this.
        self.memory.store(self.submitted, at(AVAILABLE + 2), Ordering::Release)?;
        Ok(self.kick.write(1)?)
    }

    /// What the device has written, once it is done with what was submitted; None if it is not in that time.
    pub fn collect(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error>> {
        while self.memory.load::<u16>(at(USED + 2), Ordering::Acquire)? != self.submitted {
            let mut call = libc::pollfd { fd: self.call.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry, which is there as long as the call.
            if check(unsafe { libc::poll(&mut call, 1, patience.as_millis() as i32) })? == 0 {
                return Ok(None);
            }
            self.call.read()?;
        }
        let slot = u64::from(self.submitted.wrapping_sub(1) % SIZE);
        let written: u32 = self.memory.read_obj(at(USED + 4 + 8 * slot + 4))?;
        let mut answer = vec![0; (written as usize).min(BUFFER)];
        self.memory.read_slice(&mut answer, at(WRITABLE))?;
        Ok(Some(answer))
    }
}
