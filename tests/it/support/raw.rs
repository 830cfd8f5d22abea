//! A client that writes bytes as they are and reads what comes back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// A connection for requests that no library would write.
pub(crate) struct RawClient {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A message as it came: its head, and its content without framing.
#[derive(Debug)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    /// Names in lower case, with values, in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The content.
    pub(crate) content: Vec<u8>,
    /// What followed it, as `fields`.
    pub(crate) trailers: Vec<(String, String)>,
}

impl RawClient {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(to).await.unwrap(), received: Vec::new() }
    }

    /// A connection from this address of the machine.
    pub(crate) async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self { stream: socket.connect(to).await.unwrap(), received: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(to: SocketAddr, request: impl AsRef<[u8]>) -> Message {
        let mut client = Self::connect(to).await;
        client.send(request).await;
        client.response().await
    }

    /// Writes `bytes`; what the other end refuses to take is not missed.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes).await;
    }

    /// Writes `bytes`, all of which the other end must take.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("writing", self.stream.write_all(bytes.as_ref())).await
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> Message {
        let message = within("a response", read_message(&mut self.stream, &mut self.received)).await;
        message.expect("a response before the end of the connection")
    }

    /// The head of the next response, which has no content whatever it says.
    pub(crate) async fn head(&mut self) -> Message {
        let head = within("a response", read_head(&mut self.stream, &mut self.received)).await;
        head.expect("a response before the end of the connection")
    }

    /// Waits until the other end closes; nothing more may come before.
    pub(crate) async fn closed(mut self) {
        let mut rest = self.received;
        let _ = within("the end of the connection", self.stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
    }

    /// The connection, of which nothing was read yet.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The next response, or `None` if the connection ends before it is whole.
    pub(crate) async fn response_or_cut(mut self) -> Option<Message> {
        within("the end", read_message(&mut self.stream, &mut self.received)).await
    }
}

impl Message {
    /// The status code of a response.
    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).expect(&self.start)
    }

    /// Every value of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a field, if it is there.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} more than once: {values:?}");
        values.first().copied()
    }
}

/// Reads one message (RFC 9112); `None` if the connection ends before it is
/// whole. A response without length ends with the connection.
pub(crate) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> Option<Message> {
    let mut message = read_head(stream, received).await?;
    if message.field("transfer-encoding").is_some() {
        (message.content, message.trailers) = read_chunks(stream, received).await?;
    } else if let Some(length) = message.field("content-length").and_then(|length| length.parse().ok()) {
        message.content = read_exactly(stream, received, length).await?;
    } else if message.start.starts_with("HTTP/")
        && !message.start[9..].starts_with('1')
        && !["204", "304"].contains(&&message.start[9..12])
    {
        while more(stream, received).await.is_some() {}
        message.content = std::mem::take(received);
    }
    Some(message)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> Option<Message> {
    loop {
        if let Some(end) = position(received, b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            return Some(parse_head(&String::from_utf8_lossy(&head[..end])));
        }
        more(stream, received).await?;
    }
}

fn parse_head(head: &str) -> Message {
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let fields = lines.filter_map(field).collect();
    Message { start, fields, content: Vec::new(), trailers: Vec::new() }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// The content, and the trailers.
async fn read_chunks(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> Option<(Vec<u8>, Vec<(String, String)>)> {
    let mut content = Vec::new();
    loop {
        let line = read_line(stream, received).await?;
        let length = usize::from_str_radix(&line, 16).expect(&line);
        if length == 0 {
            break;
        }
        content.extend(read_exactly(stream, received, length).await?);
        assert_eq!(read_exactly(stream, received, 2).await?, b"\r\n");
    }
    let mut trailers = Vec::new();
    loop {
        let line = read_line(stream, received).await?;
        if line.is_empty() {
            return Some((content, trailers));
        }
        trailers.push(field(&line).expect(&line));
    }
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> Option<String> {
    let line = loop {
        match position(received, b"\r\n") {
            Some(end) => break received.drain(..end + 2).collect::<Vec<u8>>(),
            None => more(stream, received).await?,
        }
    };
    Some(String::from_utf8(line).ok()?.trim_end().to_owned())
}

async fn read_exactly(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
    length: usize,
) -> Option<Vec<u8>> {
    while received.len() < length {
        more(stream, received).await?;
    }
    Some(received.drain(..length).collect())
}

async fn more(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> Option<()> {
    stream.read_buf(received).await.ok().filter(|count| *count > 0).map(|_| ())
}

fn position(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
