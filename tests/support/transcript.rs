//! Plays one side of a recorded conversation on the classic wire over real sockets, and holds the other side to it.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::DEADLINE;

/// One of the two that speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Host,
    Joiner,
}

#[derive(Debug)]
struct Line {
    by: Side,
    link: String,
    what: String,
}

/// Reads a transcript.
fn lines(name: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(format!("{name}.transcript"));
    let text = std::fs::read_to_string(path).unwrap();
    let spoken = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    spoken
        .map(|line| {
            let mut words = line.splitn(2, char::is_whitespace);
            let by = if words.next().unwrap() == "host" { Side::Host } else { Side::Joiner };
            let (link, what) = words.next().unwrap().trim().split_once(char::is_whitespace).unwrap();
            Line { by, link: link.to_owned(), what: what.trim().to_owned() }
        })
        .collect()
}

/// What the other side is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Say this to everyone.
    Broadcast(&'a str),
    /// Say this to the script alone.
    Direct(&'a str),
    /// Close a link, if it does not do so by itself.
    Close,
}

/// One side of a transcript.
pub struct Script {
    side: Side,
    /// What the words with $ stand for.
    pub words: BTreeMap<String, Value>,
    links: BTreeMap<String, TcpStream>,
    /// Where messages come in.
    messages: TcpListener,
    /// Where the second link comes in.
    distribution: TcpListener,
}

fn read_object(stream: &TcpStream) -> Option<Value> {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut objects = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
    objects.next().map(|object| object.unwrap())
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (listener, (accepted_tx, accepted)) = (listener.try_clone().unwrap(), channel());
    thread::spawn(move || accepted_tx.send(listener.accept()));
    accepted.recv_timeout(DEADLINE).expect("somebody connects").unwrap().0
}

/// Connects as soon as somebody listens: the Python program does not tell when that is.
pub fn connect(addr: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match TcpStream::connect(addr) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{addr}: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

impl Script {
    /// `join` is the join link; `host` and `joiner` are the addresses of the two.
    pub fn new(side: Side, join: TcpStream, host: &str, joiner: &str) -> Self {
        let own = if side == Side::Host { host } else { joiner };
        let (messages, distribution) =
            (TcpListener::bind((own, 0)).unwrap(), TcpListener::bind((own, 0)).unwrap());
        let port = |listener: &TcpListener| Value::from(listener.local_addr().unwrap().port());
        let mut words =
            BTreeMap::from([("$host".into(), Value::from(host)), ("$joiner".into(), Value::from(joiner))]);
        if side == Side::Host {
            words.insert("$host_port".into(), port(&messages));
            words.insert("$distribution_port".into(), port(&distribution));
            words.insert("$host_alias".into(), "script".into());
        } else {
            words.insert("$joiner_port".into(), port(&messages));
            words.insert("$joiner_alias".into(), "script".into());
        }
        let links = BTreeMap::from([("join".to_owned(), join)]);
        Self { side, words, links, messages, distribution }
    }

    /// Plays a transcript; `ask` has the other side do what it does not do by itself.
    pub fn play(&mut self, name: &str, mut ask: impl FnMut(Ask<'_>)) {
        for line in lines(name) {
            match (line.by == self.side, line.link.as_str(), line.what.as_str()) {
                (true, link, "closes") => {
                    self.links.get(link).unwrap().shutdown(Shutdown::Both).unwrap();
                }
                (false, link, "closes") => {
                    ask(Ask::Close);
                    let mut rest = Vec::new();
                    let _ = self.links.get(link).unwrap().read_to_end(&mut rest);
                    assert!(rest.is_empty(), "{line:?}: {:?}", String::from_utf8_lossy(&rest));
                }
                (true, "distribution", "connects") => {
                    let stream = self.connect("$host", "$distribution_port");
                    self.links.insert("distribution".into(), stream);
                }
                (false, "distribution", "connects") => {
                    let stream = accept(&self.distribution);
                    self.links.insert("distribution".into(), stream);
                }
                (true, link, what) => {
                    if link == "message" {
                        let (ip, port) = match self.side {
                            Side::Joiner => ("$host", "$host_port"),
                            Side::Host => ("$joiner", "$joiner_port"),
                        };
                        let stream = self.connect(ip, port);
                        self.links.insert("message".into(), stream);
                    }
                    let object = self.filled_in(&serde_json::from_str(what).unwrap());
                    let link = if link == "reply" { "message" } else { link };
                    self.links.get(link).unwrap().write_all(object.to_string().as_bytes()).unwrap();
                }
                (false, link, what) => {
                    let expected: Value = serde_json::from_str(what).unwrap();
                    if link == "message" {
                        let text = expected["data"].as_str().unwrap();
                        ask(if expected["to"].is_array() { Ask::Direct(text) } else { Ask::Broadcast(text) });
                        let stream = accept(&self.messages);
                        self.links.insert("message".into(), stream);
                    }
                    let link = if link == "reply" { "message" } else { link };
                    let found = read_object(self.links.get(link).unwrap())
                        .unwrap_or_else(|| panic!("{line:?}, but it hung up"));
                    assert!(
                        self.is_meant(&expected, &found),
                        "{line:?}, but found {found}; {:?}",
                        self.words
                    );
                }
            }
        }
    }

    fn connect(&self, ip: &str, port: &str) -> TcpStream {
        let (ip, port) = (self.words[ip].as_str().unwrap(), self.words[port].as_u64().unwrap());
        connect(format!("{ip}:{port}").parse().unwrap())
    }

    /// Puts what the words stand for in their places.
    fn filled_in(&self, value: &Value) -> Value {
        match value {
            Value::String(word) => self.words.get(word).cloned().unwrap_or_else(|| value.clone()),
            Value::Array(items) => items.iter().map(|item| self.filled_in(item)).collect(),
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(key, field)| (key.clone(), self.filled_in(field))).collect(),
            ),
            other => other.clone(),
        }
    }

    /// Compares; a word that is new stands from now on for what was found.
    fn is_meant(&mut self, expected: &Value, found: &Value) -> bool {
        match (expected, found) {
            (Value::String(word), found) if word.starts_with('$') => {
                self.words.entry(word.clone()).or_insert_with(|| found.clone()) == found
            }
            (Value::Array(expected), Value::Array(found)) => {
                expected.len() == found.len()
                    && expected.iter().zip(found).all(|(expected, found)| self.is_meant(expected, found))
            }
            (Value::Object(expected), Value::Object(found)) => {
                expected.len() == found.len()
                    && expected.iter().all(|(key, expected)| {
                        found.get(key).is_some_and(|found| self.is_meant(expected, found))
                    })
            }
            (expected, found) => expected == found,
        }
    }
}
