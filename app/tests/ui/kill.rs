//! Killing the process at any moment loses no committed message.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use coppice_app::history::{Chat, Message, Role, Store};

/// Set for the process that is to be killed: its history.
const VICTIM: &str = "COPPICE_APP_TEST_VICTIM";
/// Processes that are killed.
const KILLS: u64 = 200;

/// The process that is to be killed: writes messages and says which are committed.
#[test]
fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let mut store = Store::open(path.as_ref()).expect("the history opens after every kill");
    let mut out = std::io::stdout();
    let mut chat = Chat::new("");
    let mut parent = None;
    for n in 0.. {
        let role = if n % 2 == 0 { Role::User } else { Role::Assistant };
        let message = Message::new(parent, role, format!("{n} {}", "words ".repeat(n % 300)));
        parent = Some(message.id);
        chat.head = parent;
        store.put(&chat, std::slice::from_ref(&message)).expect("there is room");
        // On a line of its own, whatever the harness printed before.
        writeln!(out, "\ncommitted {} {} {}", chat.id.0, message.id.0, message.content.len())
            .expect("the parent reads");
        out.flush().expect("the parent reads");
    }
}

#[test]
fn two_hundred_kills_lose_no_committed_message() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("history.db");
    let mut committed: Vec<(i64, i64, usize)> = Vec::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for n in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["kill::victim", "--exact", "--nocapture", "--test-threads=1"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it can be started");
        let stdout = child.stdout.take().expect("it is piped");
        // xorshift64: kills at moments that differ and repeat.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (first, wrote) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let note = |line: &String| {
                if line.starts_with("committed") {
                    // Only the first is waited for.
                    let _ = first.send(());
                }
            };
            lines.inspect(note).collect::<Vec<_>>()
        });
        // Most are killed while they write, some while they open the file.
        let wait = if n % 4 == 0 { Duration::from_millis(5) } else { Duration::from_secs(20) };
        let _ = wrote.recv_timeout(wait);
        std::thread::sleep(Duration::from_micros(state % 12_000));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        for line in reader.join().expect("it reads") {
            let mut words = line.split(' ');
            if words.next() != Some("committed") {
                continue;
            }
            let numbers: Vec<i64> = words.filter_map(|word| word.parse().ok()).collect();
            if let [chat, message, length] = numbers[..] {
                committed.push((chat, message, length as usize));
            }
        }
    }
    assert!(committed.len() > 200, "only {} messages were written", committed.len());
    let store = Store::open(&path).expect("it opens");
    store.check().expect("it is whole");
    let chats = store.chats().expect("readable");
    let messages: std::collections::HashMap<(i64, i64), usize> = chats
        .iter()
        .flat_map(|chat| {
            let messages = store.messages(chat.id).expect("readable");
            messages.into_iter().map(|m| ((chat.id.0, m.id.0), m.content.len()))
        })
        .collect();
    for (chat, message, length) in &committed {
        assert_eq!(messages.get(&(*chat, *message)), Some(length), "message {message}");
    }
}
