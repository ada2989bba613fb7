//! A store of objects that takes everything and keeps nothing: what is in front of it is all that costs time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::Result;

/// So that most of an answer to a PUT is one write.
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\netag: \"taken\"\r\ncontent-length: 0\r\n\r\n";

/// A place that nobody listens on: a store that is down.
pub(crate) fn address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// From now on until the process ends.
pub(crate) fn listen(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever closes the connection is done with it.
            thread::spawn(move || take_all(stream).ok());
        }
    });
    Ok(())
}

fn take_all(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; 256 << 10], 0);
    loop {
        let end = loop {
            if let Some(at) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            filled += some(&mut stream, &mut buffer[filled..])?;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut left: usize = length.unwrap_or(0);
        let here = left.min(filled - end);
        buffer.copy_within(end + here..filled, 0);
        (filled, left) = (filled - end - here, left - here);
        while left > 0 {
            let room = left.min(buffer.len());
            left -= some(&mut stream, &mut buffer[..room])?;
        }
        stream.write_all(TAKEN)?;
    }
}

fn some(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    match stream.read(buffer)? {
        0 => anyhow::bail!("the connection ended"),
        read => Ok(read),
    }
}
