//! A connection that has nothing to do gives its memory back, and its client notices nothing.

use std::time::Duration;

use hydrant_ingest::Limits;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{GOOD, read};
use crate::house::House;

async fn house(head_timeout: Duration) -> House {
    House::with(Limits { rest_after: Duration::from_millis(1), head_timeout, ..Limits::default() }, 64 << 20).await
}

fn request() -> Vec<u8> {
    GOOD.request("ListDeliveryStreams", b"{}")
}

async fn answered(stream: &mut TcpStream) {
    let answer = read(stream).await.expect("an answer");
    assert_eq!((answer.status, &answer.body["DeliveryStreamNames"][0]), (200, &"demo".into()));
}

async fn until_rests(house: &House, count: u64) {
    let rests = async {
        while house.counters.rests() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), rests).await.expect("it comes to rest");
}

#[tokio::test]
async fn a_connection_that_rested_goes_on_where_it_was() {
    let house = house(Limits::default().head_timeout).await;
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    let request = request();
    // Whole, and cut behind the first byte, in the head and in the body.
    for at in [request.len(), 1, 100, request.len() - 1] {
        let rests = house.counters.rests();
        let (first, second) = request.split_at(at);
        for part in [first, second] {
            stream.write_all(part).await.unwrap();
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
        }
        answered(&mut stream).await;
        until_rests(&house, rests + 1).await;
    }
    // What came of a second request with the first is kept.
    let rests = house.counters.rests();
    stream.write_all(&[&request[..], &request[..50]].concat()).await.unwrap();
    answered(&mut stream).await;
    stream.write_all(&request[50..]).await.unwrap();
    answered(&mut stream).await;
    until_rests(&house, rests + 1).await;
    assert_eq!(house.counters.connections(), 1);
    house.close().await;
}

#[tokio::test]
async fn a_client_that_stays_silent_is_let_go_at_rest_too() {
    let house = house(Duration::from_millis(500)).await;
    let mut silent = TcpStream::connect(house.addr).await.unwrap();
    silent.write_all(&request()).await.unwrap();
    answered(&mut silent).await;
    assert!(read(&mut silent).await.is_none());
    let mut halting = TcpStream::connect(house.addr).await.unwrap();
    halting.write_all(&request()).await.unwrap();
    answered(&mut halting).await;
    // A byte is no request: it may be told so, or not, but nobody waits for more.
    halting.write_all(b"P").await.unwrap();
    while read(&mut halting).await.is_some() {}
    house.close().await;
}

#[tokio::test]
async fn a_server_that_stops_waits_for_no_connection_at_rest() {
    let house = house(Limits::default().head_timeout).await;
    let mut stream = TcpStream::connect(house.addr).await.unwrap();
    stream.write_all(&request()).await.unwrap();
    answered(&mut stream).await;
    until_rests(&house, 1).await;
    house.close().await;
    assert!(read(&mut stream).await.is_none());
}
