// SPDX-License-Identifier: BSD-2-Clause
//! The echo device on rust-vmm's crates: peer-backend SOCKET WINDOW_SIZE
//!
//! It serves one front-end after the other, each with files of its own.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Arc, Mutex};

use oriel_peers::{check, file, op, Answer, Request, PAGE};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserVirtioFeatures};
use vhost::vhost_user::{Backend, Error as UserError, Listener, VhostUserFrontendReqHandler};
use vhost_user_backend::{Error as DaemonError, VhostUserBackend, VhostUserDaemon, VringMutex, VringT};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{DescriptorChain, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryLoadGuard, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{new_event_consumer_and_notifier, EventConsumer, EventFlag, EventNotifier};

const QUEUES: usize = 2;

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;
type Snapshot = GuestMemoryLoadGuard<GuestMemoryMmap>;

/// What MAP can pass, by the numbers of `file`.
struct Files {
    by_kind: [OwnedFd; 7],
    _pipe_end: OwnedFd,
}

fn make_memfd() -> io::Result<File> {
    // SAFETY: the name is a string with its end, and the new descriptor is nobody else's.
    unsafe { Ok(File::from_raw_fd(check(libc::memfd_create(c"echo".as_ptr(), libc::MFD_CLOEXEC))?)) }
}

impl Files {
    fn new() -> io::Result<Self> {
        let memory = make_memfd()?;
        for page in 0..file::PAGES {
            memory.write_all_at(&[page as u8; PAGE as usize], page * PAGE)?;
        }
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let read_only = File::open(&path)?;
        let write_only = OpenOptions::new().write(true).open(&path)?;
        let o_path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path)?;
        let (pipe, pipe_end) = io::pipe()?;
        Ok(Files {
            by_kind: [
                memory.into(),
                read_only.into(),
                write_only.into(),
                o_path.into(),
                make_memfd()?.into(),
                pipe.into(),
                File::open("/")?.into(),
            ],
            _pipe_end: pipe_end.into(),
        })
    }
}

struct Echo {
    memory: Memory,
    files: Files,
    window: u64,
    channel: Mutex<Option<Backend>>,
}

impl Echo {
    fn answer(&self, chain: DescriptorChain<Snapshot>, memory: &Snapshot) -> Result<u32, Box<dyn Error>> {
        let mut reader = chain.clone().reader(memory)?;
        let mut writer = chain.writer(memory)?;
        let request: Request = reader.read_obj()?;
        if request.op == op::INVERT {
            let mut bytes = vec![0; reader.available_bytes()];
            reader.read_exact(&mut bytes)?;
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
            writer.write_all(&bytes)?;
        } else {
            writer.write_obj(self.change_mappings(&request))?;
        }
        Ok(writer.bytes_written() as u32)
    }

    fn change_mappings(&self, request: &Request) -> Answer {
        let mut answer = Answer::default();
        // A clone: who holds the lock while it waits for the front-end stops the thread that serves the front-end.
        let channel = self.channel.lock().unwrap().clone();
        for index in 0..request.count.max(1) {
            let result = match &channel {
                Some(channel) => self.ask(channel, request, index.into()),
                None => Err(libc::ENOTCONN),
            };
            if let Err(error) = result {
                answer = Answer { result: -error, failed: answer.failed + 1 };
            }
        }
        answer
    }

    fn ask(&self, channel: &Backend, request: &Request, index: u64) -> Result<(), i32> {
        let mut map = request.map;
        map.shm_offset += index * request.step;
        let result = match request.op {
            op::MAP => {
                let Some(file) = self.files.by_kind.get(request.file as usize) else { return Err(libc::EINVAL) };
                if request.step != 0 {
                    map.fd_offset += index % file::PAGES * PAGE;
                }
                channel.shmem_map(&map, file)
            }
            op::UNMAP => channel.shmem_unmap(&map),
            _ => return Err(libc::EINVAL),
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) => Err(error_number(&error)),
        }
    }

    fn serve(&self, vring: &VringMutex<Memory>) -> Result<(), Box<dyn Error>> {
        loop {
            // Anew for each: a mapping that was just made may have become memory, and the next buffer may lie there.
            let memory = self.memory.memory();
            // Not in the loop's head, where the lock would be kept while the front-end is asked.
            let next = vring.get_mut().get_queue_mut().pop_descriptor_chain(memory.clone());
            let Some(chain) = next else { return Ok(()) };
            let head = chain.head_index();
            let written = self.answer(chain, &memory).unwrap_or_else(|error| {
                eprintln!("peer-backend: {error}");
                0
            });
            vring.add_used(head, written)?;
            if vring.needs_notification()? {
                vring.signal_used_queue()?;
            }
        }
    }
}

/// What the crate makes of a refusal, and of a request that it does not send, as the echo device's own result.
fn error_number(error: &io::Error) -> i32 {
    match error.get_ref().map(|inner| inner.downcast_ref::<UserError>()) {
        Some(Some(UserError::FrontendInternalError)) => libc::EREMOTEIO,
        Some(Some(_)) => libc::ENOTCONN,
        // "SHMEM feature not negotiated"
        _ => libc::EOPNOTSUPP,
    }
}

impl VhostUserBackend for Echo {
    type Bitmap = ();
    type Vring = VringMutex<Memory>;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        1024
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::BACKEND_SEND_FD
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::SHMEM
    }

    fn set_event_idx(&self, _enabled: bool) {}

    /// The atomic memory is what is updated.
    fn update_memory(&self, _memory: Memory) -> io::Result<()> {
        Ok(())
    }

    fn set_backend_req_fd(&self, channel: Backend) {
        *self.channel.lock().unwrap() = Some(channel);
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        Ok(VhostUserShMemConfig::new(2, &[self.window, 0, self.window]))
    }

    /// A thread for each, as both may wait for the front-end.
    fn queues_per_thread(&self) -> Vec<u64> {
        (0..QUEUES).map(|queue| 1 << queue).collect()
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }

    fn handle_event(&self, event: u16, _events: EventSet, vrings: &[Self::Vring], _thread: usize) -> io::Result<()> {
        let vring = &vrings[usize::from(event)];
        loop {
            vring.disable_notification().map_err(io::Error::other)?;
            self.serve(vring).map_err(|error| io::Error::other(error.to_string()))?;
            // A ring that was just stopped gives nothing, however much is in it.
            if !vring.enable_notification().map_err(io::Error::other)? || !vring.get_ref().get_queue().ready() {
                return Ok(());
            }
        }
    }
}

fn serve_one(listener: &mut Listener, window: u64) -> Result<(), Box<dyn Error>> {
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let echo = Echo { memory: memory.clone(), files: Files::new()?, window, channel: Mutex::new(None) };
    let mut daemon = VhostUserDaemon::new("echo".into(), Arc::new(echo), memory).map_err(|error| error.to_string())?;
    daemon.start(listener).map_err(|error| error.to_string())?;
    match daemon.wait() {
        Err(DaemonError::HandleRequest(UserError::Disconnected)) => Ok(()),
        result => Ok(result.map_err(|error| error.to_string())?),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let [_, socket, window] = &std::env::args().collect::<Vec<_>>()[..] else {
        return Err("usage: peer-backend SOCKET WINDOW_SIZE".into());
    };
    let window = window.parse()?;
    let mut listener = Listener::new(socket, true)?;
    loop {
        if let Err(error) = serve_one(&mut listener, window) {
            eprintln!("peer-backend: {error}");
        }
    }
}
