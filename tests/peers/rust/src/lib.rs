// SPDX-License-Identifier: BSD-2-Clause
//! What both programs know of the echo device: the form of a request and of its answer, as in tests/session/echo_device.h.

use std::io;

use vhost::vhost_user::message::VhostUserMMap;
use vm_memory::ByteValued;

pub const PAGE: u64 = 4096;

/// What a request asks for. The device answers those that it does not know with -EINVAL.
pub mod op {
    pub const INVERT: u32 = 0;
    pub const MAP: u32 = 3;
    pub const UNMAP: u32 = 4;
}

/// What MAP passes. Page n of the first three is filled with n.
pub mod file {
    pub const READ_WRITE: u32 = 0;
    pub const READ_ONLY: u32 = 1;
    pub const WRITE_ONLY: u32 = 2;
    pub const PATH: u32 = 3;
    pub const EMPTY: u32 = 4;
    pub const PIPE: u32 = 5;
    pub const DIRECTORY: u32 = 6;
    pub const PAGES: u64 = 64;
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Request {
    pub op: u32,
    pub file: u32,
    /// 0 is 1.
    pub count: u32,
    pub padding: u32,
    /// Between the offsets in the region of one mapping and the next.
    pub step: u64,
    pub map: VhostUserMMap,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answer {
    /// The last error, negative, or 0.
    pub result: i32,
    /// Of count.
    pub failed: u32,
}

// SAFETY: plain integers, and no padding that is not a field.
unsafe impl ByteValued for Request {}
// SAFETY: the same.
unsafe impl ByteValued for Answer {}

/// What a system call returned, as a result.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
