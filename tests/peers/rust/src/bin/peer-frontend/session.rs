// SPDX-License-Identifier: BSD-2-Clause
//! A front-end and a driver for the echo device, on rust-vmm's crates.

use std::error::Error;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use oriel_peers::{op, Answer, Request};
use vhost::vhost_user::message::{
    VhostUserHeaderFlag, VhostUserProtocolFeatures as Features, VhostUserShMemConfig, VhostUserVirtioFeatures,
};
use vhost::vhost_user::{Error as UserError, Frontend, FrontendReqHandler, VhostUserFrontend};
use vhost::VhostBackend;
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use vm_memory::ByteValued;

use crate::ring::{Ring, SIZE};
use crate::windows::Windows;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(20);

/// Connected, and agreed on protocol features, SHMEM among them if it is wanted and offered.
pub fn negotiate(path: &str, windows: bool) -> Outcome<(Frontend, Features)> {
    let mut frontend = Frontend::connect(path, 1)?;
    frontend.get_features()?;
    frontend.set_owner()?;
    let mut wanted =
        Features::MQ | Features::REPLY_ACK | Features::BACKEND_REQ | Features::BACKEND_SEND_FD | Features::RESET_DEVICE;
    wanted.set(Features::SHMEM, windows);
    let agreed = frontend.get_protocol_features()? & wanted;
    frontend.set_protocol_features(agreed)?;
    frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    Ok((frontend, agreed))
}

/// Answer the back-end until its channel is shut down. What the crate finds malformed it does not answer at all.
fn serve(mut handler: FrontendReqHandler<Mutex<Windows>>, unanswered: &AtomicU32) {
    loop {
        match handler.handle_request() {
            Ok(_) | Err(UserError::ReqHandlerError(_)) => {}
            Err(UserError::InvalidMessage) => {
                unanswered.fetch_add(1, Ordering::SeqCst);
            }
            Err(_) => return,
        }
    }
}

pub struct Session {
    pub frontend: Frontend,
    pub agreed: Features,
    pub config: VhostUserShMemConfig,
    pub ring: Ring,
    windows: Arc<Mutex<Windows>>,
    unanswered: Arc<AtomicU32>,
    channel: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Up and running, with windows if it is offered them.
    pub fn open(path: &str, windows: bool) -> Outcome<Self> {
        let (mut frontend, agreed) = negotiate(path, windows)?;
        let windows = Arc::new(Mutex::new(Windows::default()));
        let unanswered = Arc::new(AtomicU32::new(0));
        let mut handler = FrontendReqHandler::new(windows.clone())?;
        handler.set_reply_ack_flag(agreed.contains(Features::REPLY_ACK));
        // SAFETY: the handler has it open.
        let channel = unsafe { BorrowedFd::borrow_raw(handler.as_raw_fd()) }.try_clone_to_owned()?.into();
        frontend.set_backend_request_fd(&handler.get_tx_raw_fd())?;
        let config = match agreed.contains(Features::SHMEM) {
            true => frontend.get_shmem_config()?,
            false => VhostUserShMemConfig::default(),
        };
        for (shmid, size) in config.memory_sizes.into_iter().enumerate().filter(|(_, size)| *size > 0) {
            // There is room for one half only of all but the first, so that there is something to refuse that the
            // back-end can't know of.
            windows.lock().unwrap().add(shmid as u8, if shmid == 0 { size } else { size / 2 })?;
        }
        let counter = unanswered.clone();
        let thread = Some(std::thread::spawn(move || serve(handler, &counter)));
        let session = Session { frontend, agreed, config, ring: Ring::new()?, windows, unanswered, channel, thread };
        session.start()?;
        Ok(session)
    }

    fn start(&self) -> Outcome<()> {
        let features = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() | 1 << VIRTIO_F_VERSION_1;
        self.frontend.set_features(features)?;
        self.frontend.set_mem_table(&[self.ring.region()?])?;
        self.frontend.set_vring_num(0, SIZE)?;
        self.frontend.set_vring_addr(0, &self.ring.config())?;
        self.frontend.set_vring_base(0, 0)?;
        self.frontend.set_vring_call(0, &self.ring.call)?;
        self.frontend.set_vring_kick(0, &self.ring.kick)?;
        Ok(self.frontend.clone().set_vring_enable(0, true)?)
    }

    pub fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap()
    }

    pub fn unanswered(&self) -> u32 {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Until the back-end is gone. The main channel tells: of the other the handler keeps both ends open.
    pub fn wait(self) {
        let mut fd = libc::pollfd { fd: self.frontend.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: it is one.
        unsafe { libc::poll(&mut fd, 1, -1) };
    }

    pub fn ask(&mut self, request: &Request) -> Outcome<Answer> {
        self.ring.submit(request, &[])?;
        let bytes = self.ring.collect(PATIENCE)?.ok_or("no answer")?;
        Ok(*Answer::from_slice(&bytes).ok_or("an answer of another size")?)
    }

    /// @len bytes there and back.
    pub fn invert(&mut self, len: usize) -> Outcome<()> {
        let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
        self.ring.submit(&Request { op: op::INVERT, ..Request::default() }, &data)?;
        let bytes = self.ring.collect(PATIENCE)?.ok_or("no answer")?;
        match bytes.iter().map(|byte| !byte).eq(data) {
            true => Ok(()),
            false => Err(io::Error::other("what came back is not what was sent, inverted").into()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The handler keeps the other end too, so it would wait for ever.
        let _ = self.channel.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
