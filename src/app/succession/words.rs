//! What two processes say to each other when one takes over: messages of JSON, with
//! open sockets beside them. It decides nothing.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use serde::{Deserialize, Serialize};

/// Sockets that go with one word: the system takes up to 253.
pub(super) const MOST_SOCKETS: usize = 64;

/// No word is longer, in bytes.
const LONGEST: usize = 16 << 10;

/// What comes in on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::app) enum Scheme {
    /// HTTP in cleartext.
    Http,
    /// TLS.
    Https,
    /// Who reads the metrics.
    Metrics,
}

/// An address as the config writes it; the system may have chosen the port.
pub(in crate::app) type Written = (Scheme, SocketAddr);

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "lowercase")]
pub(super) enum Word {
    /// The successor can run, and asks for what it takes over.
    Take,
    /// Sockets that listen on this address, as the config writes it.
    Sockets {
        /// What comes in there.
        scheme: Scheme,
        /// The address.
        address: SocketAddr,
    },
    /// That was all.
    All {
        /// The name of the admin socket, which is the successor's in the end.
        admin_socket: PathBuf,
    },
    /// The successor serves.
    Serving {
        /// Its version.
        version: String,
    },
    /// Then the rest is the successor's, such as the name of the admin socket.
    Yours,
    /// It has that.
    Complete,
    /// The successor does not start.
    Failed {
        /// Why, as text for people.
        reason: String,
    },
}

/// One end of the conversation.
#[derive(Debug)]
pub(super) struct Line(OwnedFd);

impl Line {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(near), far))
    }

    /// The end that this is; an error if it is no such thing.
    pub(super) fn of(socket: OwnedFd) -> io::Result<Self> {
        match sockopt::socket_type(&socket) {
            Ok(SocketType::SEQPACKET) => Ok(Self(socket)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Has every wait for the other end be over after `within`.
    pub(super) fn wait_at_most(&self, within: Duration) -> io::Result<()> {
        for direction in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&self.0, direction, Some(within))?;
        }
        Ok(())
    }

    /// Says a word, and passes `sockets` on, at most [`MOST_SOCKETS`]. Blocks.
    pub(super) fn say(&self, word: &Word, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(word)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let fits = sockets.len() <= MOST_SOCKETS
            && (sockets.is_empty() || beside.push(SendAncillaryMessage::ScmRights(sockets)));
        if !fits {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut beside, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next word with the sockets that came with it; `UnexpectedEof` if the other
    /// end is gone. Blocks.
    pub(super) fn hear(&self) -> io::Result<(Word, Vec<OwnedFd>)> {
        let mut text = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut text)];
        let received = recvmsg(&self.0, into, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = received.bytes;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rights = beside.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        let sockets = rights.flatten().collect();
        Ok((serde_json::from_slice(text.get(..length).unwrap_or_default())?, sockets))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    fn ends() -> (Line, Line) {
        let (near, far) = Line::pair().unwrap();
        (near, Line::of(far).unwrap())
    }

    #[test]
    fn a_socket_listens_on_with_who_got_it() {
        let (near, far) = ends();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let word = Word::Sockets { scheme: Scheme::Https, address };
        near.say(&word, &[socket.as_fd()]).unwrap();
        drop(socket);
        let (heard, mut sockets) = far.hear().unwrap();
        assert_eq!((heard, sockets.len()), (word, 1));
        let socket = TcpListener::from(sockets.remove(0));
        let _client = std::net::TcpStream::connect(address).unwrap();
        socket.accept().unwrap();
    }

    #[test]
    fn many_sockets_go_at_once() {
        let (near, far) = ends();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let many = [socket.as_fd(); MOST_SOCKETS];
        near.say(&Word::Take, &many).unwrap();
        assert_eq!(far.hear().unwrap().1.len(), MOST_SOCKETS);
        let too_many = [socket.as_fd(); MOST_SOCKETS + 1];
        assert!(near.say(&Word::Take, &too_many).is_err());
    }

    #[test]
    fn who_is_gone_or_silent_is_not_waited_for() {
        let (near, far) = ends();
        near.wait_at_most(Duration::from_millis(10)).unwrap();
        assert_eq!(near.hear().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(far);
        assert_eq!(near.hear().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(near.say(&Word::Take, &[]).is_err());
    }

    #[test]
    fn what_is_no_such_socket_is_none() {
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Line::of(stream.into()).is_err());
        assert!(Line::of(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }

    #[test]
    fn what_is_no_word_is_an_error() {
        let (near, far) = ends();
        rustix::io::write(&near.0, b"{\"word\":\"other\"}").unwrap();
        assert_eq!(far.hear().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
