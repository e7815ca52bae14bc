// SPDX-License-Identifier: BSD-2-Clause
//! rust-vmm's front-end against an echo device that serves one front-end after the other:
//! peer-frontend SOCKET WINDOW_SIZE, or peer-frontend SOCKET none where the two are not to agree on windows.
//! It prints TAP. Each test is a session of its own.
//!
//! peer-frontend SOCKET idle starts the device of any back-end and does nothing but answer it, session after session.

mod ring;
mod session;
mod windows;

use std::time::Duration;

use oriel_peers::{file, op, Answer, Request, PAGE};
use session::{negotiate, Outcome, Session};
use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags, VhostUserProtocolFeatures as Features};
use vhost::vhost_user::{Error as UserError, VhostUserFrontend};
use vhost::VhostBackend;

struct Options {
    path: String,
    window: u64,
}

impl Options {
    fn open(&self) -> Outcome<Session> {
        Session::open(&self.path, self.window > 0)
    }
}

type Test = fn(&Options) -> Outcome<()>;

macro_rules! ensure {
    ($condition:expr) => {
        ensure!($condition, "at line {}: {}", line!(), stringify!($condition))
    };
    ($condition:expr, $($words:tt)*) => {
        if !$condition {
            return Err(format!($($words)*).into());
        }
    };
}

const REFUSED: i32 = -libc::EREMOTEIO;

/// Pages [page, page + pages) of region 0, read-write.
fn pages(op: u32, page: u64, pages: u64) -> Request {
    let map = VhostUserMMap {
        shm_offset: page * PAGE,
        len: pages * PAGE,
        flags: VhostUserMMapFlags::WRITABLE.bits(),
        ..VhostUserMMap::default()
    };
    Request { op, map, ..Request::default() }
}

fn map_of_file(page: u64, n: u64, file_page: u64) -> Request {
    let mut request = pages(op::MAP, page, n);
    request.map.fd_offset = file_page * PAGE;
    request
}

fn must(session: &mut Session, request: &Request) -> Outcome<()> {
    let answer = session.ask(request)?;
    ensure!(answer == Answer::default(), "op {} was answered with {}", request.op, answer.result);
    Ok(())
}

fn shmem_config_is_answered(options: &Options) -> Outcome<()> {
    let session = options.open()?;
    ensure!(session.agreed.contains(Features::SHMEM));
    ensure!(session.config.nregions == 2);
    for (shmid, size) in session.config.memory_sizes.into_iter().enumerate() {
        let expected = if shmid == 0 || shmid == 2 { options.window } else { 0 };
        ensure!(size == expected, "region {shmid} has {size} bytes");
    }
    Ok(())
}

fn buffers_pass(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    for len in 0..500 {
        session.invert(len * 40)?;
    }
    // What the device says at its stop is how far it has come.
    let base = session.frontend.get_vring_base(0)?;
    ensure!(base == u32::from(session.ring.submitted()), "base {base}");
    Ok(())
}

fn map_shows_the_file_and_unmap_the_hole(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    must(&mut session, &map_of_file(8, 3, 5))?;
    for byte in 0..3 * PAGE {
        ensure!(u64::from(session.windows().byte(0, 8 * PAGE + byte)) == 5 + byte / PAGE);
    }
    ensure!(session.windows().byte(0, 8 * PAGE - 1) == 0);
    ensure!(session.windows().byte(0, 11 * PAGE) == 0);
    must(&mut session, &pages(op::UNMAP, 8, 3))?;
    for byte in 0..3 * PAGE {
        ensure!(session.windows().byte(0, 8 * PAGE + byte) == 0);
    }
    ensure!(session.windows().count() == 0);
    Ok(())
}

fn what_is_written_goes_to_the_file(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    must(&mut session, &map_of_file(0, 2, 20))?;
    session.windows().set_byte(0, PAGE + 7, 0xaa);
    let mut again = map_of_file(4, 1, 21);
    again.map.flags = 0;
    must(&mut session, &again)?;
    ensure!(session.windows().byte(0, 4 * PAGE + 7) == 0xaa);
    ensure!(session.windows().byte(0, 4 * PAGE + 8) == 21);
    must(&mut session, &pages(op::UNMAP, 0, 2))?;
    must(&mut session, &map_of_file(0, 1, 21))?;
    ensure!(session.windows().byte(0, 7) == 0xaa);
    // As the file is the device's, and stays, so the next test finds what it expects.
    session.windows().set_byte(0, 7, 21);
    Ok(())
}

fn the_same_in_the_second_region(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    let mut request = map_of_file(0, 1, 9);
    request.map.shmid = 2;
    must(&mut session, &request)?;
    ensure!(session.windows().byte(2, 0) == 9);
    ensure!(session.windows().byte(0, 0) == 0);
    Ok(())
}

/// Each against one mapping of pages 8 to 10.
fn refusals(options: &Options) -> Vec<(&'static str, Request)> {
    let with_file = |kind, flags| {
        let mut request = Request { file: kind, ..pages(op::MAP, 0, 1) };
        request.map.flags = flags;
        request
    };
    let mut within_a_page = pages(op::MAP, 0, 1);
    within_a_page.map.shm_offset = 100;
    let mut no_room = pages(op::MAP, options.window / 2 / PAGE - 1, 2);
    no_room.map.shmid = 2;
    let mut other_region = pages(op::UNMAP, 8, 3);
    other_region.map.shmid = 2;
    vec![
        ("overlap", pages(op::MAP, 8, 1)),
        ("overlap at the end", pages(op::MAP, 10, 2)),
        ("overlap of all", pages(op::MAP, 0, 20)),
        ("offset within a page", within_a_page),
        ("behind the end of what the front-end has room for", no_room),
        ("behind the end of the file", map_of_file(0, 2, file::PAGES - 1)),
        ("empty file", with_file(file::EMPTY, 1)),
        ("pipe", with_file(file::PIPE, 1)),
        ("directory", with_file(file::DIRECTORY, 0)),
        ("O_PATH", with_file(file::PATH, 0)),
        ("write-only", with_file(file::WRITE_ONLY, 0)),
        ("read-only for both", with_file(file::READ_ONLY, 1)),
        ("unmap of nothing", pages(op::UNMAP, 0, 1)),
        ("unmap of a part", pages(op::UNMAP, 8, 1)),
        ("unmap of more", pages(op::UNMAP, 8, 4)),
        ("unmap in another region", other_region),
    ]
}

fn refusals_reach_the_device(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    must(&mut session, &map_of_file(8, 3, 5))?;
    for (index, (what, request)) in refusals(options).into_iter().enumerate() {
        let answer = session.ask(&request)?;
        ensure!(answer == Answer { result: REFUSED, failed: 1 }, "{what}: {}", answer.result);
        let windows = session.windows();
        ensure!(windows.refused == index as u32 + 1, "{what}: not refused here");
        ensure!(windows.count() == 1 && windows.byte(0, 10 * PAGE) == 7, "{what}: it changed something");
    }
    must(&mut session, &pages(op::UNMAP, 8, 3))?;
    session.invert(100)
}

/// What the device's end of the protocol knows to be wrong does not come here.
fn what_is_outside_the_region_is_not_asked_for(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    let mut no_region = pages(op::MAP, 0, 1);
    no_region.map.shmid = 1;
    let end = options.window / PAGE;
    for request in [pages(op::MAP, end, 1), pages(op::MAP, end - 1, 2), pages(op::UNMAP, end, 1), no_region] {
        let answer = session.ask(&request)?;
        ensure!(answer.result == -libc::ERANGE, "it was answered with {}", answer.result);
    }
    ensure!(session.windows().served == 0);
    must(&mut session, &map_of_file(end - 1, 1, 3))?;
    ensure!(session.windows().byte(0, options.window - 1) == 3);
    Ok(())
}

fn many(op: u32, count: u32) -> Request {
    Request { count, step: 2 * PAGE, ..pages(op, 0, 1) }
}

fn a_thousand_at_once(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    must(&mut session, &many(op::MAP, 1000))?;
    for index in 0..1000 {
        ensure!(u64::from(session.windows().byte(0, 2 * index * PAGE + 5)) == index % file::PAGES);
        ensure!(session.windows().byte(0, (2 * index + 1) * PAGE) == 0);
    }
    session.invert(100)?;
    must(&mut session, &many(op::UNMAP, 1000))?;
    ensure!(session.windows().count() == 0);
    Ok(())
}

fn results_are_each_ones_own(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    for index in 0..10 {
        must(&mut session, &map_of_file(index * 100, 1, 0))?;
    }
    let answer = session.ask(&many(op::MAP, 1000))?;
    ensure!(answer == Answer { result: REFUSED, failed: 10 }, "{} failed", answer.failed);
    ensure!(session.windows().count() == 1000);
    Ok(())
}

fn the_next_session_starts_from_nothing(options: &Options) -> Outcome<()> {
    for round in 0..5 {
        let mut session = options.open()?;
        must(&mut session, &map_of_file(0, 1, round + 1))?;
        ensure!(u64::from(session.windows().byte(0, 0)) == round + 1);
    }
    Ok(())
}

/// The crate reads the whole of a malformed request and then does not answer it. That must not keep the device from
/// being stopped, nor the next front-end from being served.
fn a_request_that_is_not_answered(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    session.ring.submit(&pages(op::MAP, 0, 0), &[])?;
    ensure!(session.ring.collect(Duration::from_millis(200))?.is_none());
    ensure!(session.unanswered() == 1);
    ensure!(session.frontend.get_vring_base(0)? == 1);
    let answer = session.ring.collect(Duration::ZERO)?.ok_or("the buffer was not given back")?;
    ensure!(answer.starts_with(&(-libc::ETIMEDOUT).to_ne_bytes()));
    drop(session);
    must(&mut options.open()?, &map_of_file(0, 1, 1))
}

fn no_windows_are_agreed_on(options: &Options) -> Outcome<()> {
    let mut session = options.open()?;
    session.invert(100)?;
    let answer = session.ask(&map_of_file(0, 1, 0))?;
    ensure!(answer.result == -libc::EOPNOTSUPP, "it was answered with {}", answer.result);
    ensure!(session.windows().served == 0);
    session.invert(100)
}

/// The bit may well be offered, as something else. Who takes it for SHMEM is refused at the first message, and the next
/// front-end is served.
fn our_bit_is_not_read_as_shmem(options: &Options) -> Outcome<()> {
    let (mut frontend, agreed) = negotiate(&options.path, true)?;
    match frontend.get_shmem_config() {
        Err(vhost::Error::VhostUserProtocol(UserError::InactiveOperation(_))) => {
            ensure!(!agreed.contains(Features::SHMEM));
        }
        Err(error) => ensure!(agreed.contains(Features::SHMEM), "{error}"),
        Ok(_) => ensure!(false, "GET_SHMEM_CONFIG was answered"),
    }
    drop(frontend);
    options.open()?.invert(100)
}

const WITH: &[(&str, Test)] = &[
    ("buffers pass", buffers_pass),
    ("GET_SHMEM_CONFIG is answered", shmem_config_is_answered),
    ("map shows the file and unmap the hole", map_shows_the_file_and_unmap_the_hole),
    ("what is written goes to the file", what_is_written_goes_to_the_file),
    ("the same in the second region", the_same_in_the_second_region),
    ("refusals reach the device", refusals_reach_the_device),
    ("what is outside the region is not asked for", what_is_outside_the_region_is_not_asked_for),
    ("a thousand at once", a_thousand_at_once),
    ("results are each one's own", results_are_each_ones_own),
    ("the next session starts from nothing", the_next_session_starts_from_nothing),
    ("a request that is not answered", a_request_that_is_not_answered),
];

const WITHOUT: &[(&str, Test)] = &[
    ("buffers pass", buffers_pass),
    ("no windows are agreed on", no_windows_are_agreed_on),
    ("our bit is not read as SHMEM", our_bit_is_not_read_as_shmem),
];

fn idle(path: &str) -> Outcome<()> {
    loop {
        match Session::open(path, true) {
            Ok(session) => session.wait(),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn main() -> Outcome<()> {
    let [_, path, window] = &std::env::args().collect::<Vec<_>>()[..] else {
        return Err("usage: peer-frontend SOCKET WINDOW_SIZE|none|idle".into());
    };
    if window == "idle" {
        return idle(path);
    }
    let window = if window == "none" { 0 } else { window.parse()? };
    let options = Options { path: path.clone(), window };
    let tests = if window > 0 { WITH } else { WITHOUT };
    let mut failed = false;
    println!("1..{}", tests.len());
    for (index, (name, test)) in tests.iter().enumerate() {
        match test(&options) {
            Ok(()) => println!("ok {} - {name}", index + 1),
            Err(error) => {
                failed = true;
                println!("not ok {} - {name}\n# {error}", index + 1);
            }
        }
    }
    std::process::exit(failed.into())
}
