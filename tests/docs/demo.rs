//! The README's first command: `wxgate demo` prints the three lines of the README, and they do what it says.

use std::{
    io::{BufRead, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::page::Page;

/// Where the README's reader finds the gateway.
const ADDRESS: &str = "127.0.0.1:8080";

#[test]
fn the_demo_prints_the_lines_of_the_readme() {
    let demo = Demo::start();
    assert_eq!(demo.lines.join("\n").replace(&demo.address, ADDRESS), shown().trim_end());
    demo.stop();
}

#[test]
fn the_lines_of_the_readme_do_what_it_says() {
    let demo = Demo::start();
    let said = run(&shown().replace(ADDRESS, &demo.address));
    let (refusal, rest) = said.split_once("wxg_").unwrap_or_else(|| panic!("no token: {said}"));
    assert!(refusal.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{said}");
    assert!(refusal.contains("token_missing"), "{said}");

    let (token, answer) = rest.split_once('\n').unwrap();
    assert_eq!(token.len(), 48, "{said}");
    assert!(!answer.contains(token) && !answer.contains("forged"), "{said}");
    let answer: Value = serde_json::from_str(answer).unwrap();
    let promised: Value = serde_json::from_str(&promised()).unwrap();
    assert_eq!(promised["identity"]["x-wx-openid"], "oDemo-user-0000000000000001");
    for (key, value) in promised.as_object().unwrap() {
        assert_eq!(answer[key], *value, "{key}");
    }
    demo.stop();
}

#[test]
fn where_its_port_is_taken_the_demo_takes_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let first = Demo::start_on(taken.port());
    assert_eq!(first.address, taken.to_string());
    let second = Demo::start_on(taken.port());
    assert_ne!(second.address, first.address);
    first.stop();
    second.stop();
}

/// The three lines, as the README has them.
fn shown() -> String {
    let readme = Page::read("README.md");
    let block = readme.blocks_below("Try it")[1];
    assert_eq!(block.text.lines().count(), 3);
    block.text.clone()
}

/// What it says the third one answers, in part.
fn promised() -> String {
    let readme = Page::read("README.md");
    let block = readme.blocks_below("Try it")[2];
    assert_eq!(block.language, "json");
    block.text.clone()
}

fn run(script: &str) -> String {
    let mut shell = Command::new("sh");
    // A proxy that the machine is set up for does not lead to its own loopback.
    shell.args(["-euc", script]).env("no_proxy", "*").stderr(Stdio::null());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{script}\n{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A running demo.
struct Demo {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    address: String,
    lines: Vec<String>,
}

impl Demo {
    /// On a free port, once it has introduced itself.
    fn start() -> Self {
        Self::start_on(0)
    }

    fn start_on(port: u16) -> Self {
        let mut demo = Command::new(env!("CARGO_BIN_EXE_wxgate"));
        let mut child = demo.args(["demo", "--port", &port.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains("Ctrl-C")) {
            said.push(stdout.next().unwrap_or_else(|| panic!("the demo ended: {said:?}")).unwrap());
        }
        let headed = said.windows(2).filter(|pair| pair[0].starts_with(['1', '2', '3']));
        let lines: Vec<String> = headed.map(|pair| pair[1].trim_start().to_owned()).collect();
        let address = lines[0].split(['/', ' ']).find(|part| part.starts_with("127.")).unwrap().to_owned();
        Self { child, stdout, address, lines }
    }

    /// Ctrl-C.
    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
        let last = self.stdout.by_ref().map(Result::unwrap).last();
        assert_eq!(last.as_deref(), Some("stopped"));
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Only a test that failed leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
