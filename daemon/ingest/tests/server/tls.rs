//! TLS: which HTTP is spoken, and who may speak.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use hydrant_config::TlsFiles;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::GOOD;
use crate::house::House;
use crate::http2;

const ONE: &[u8] = br#"{"DeliveryStreamName":"demo","Record":{"Data":"aGVsbG8K"}}"#;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn files(client_ca: bool) -> TlsFiles {
    let client_ca = client_ca.then(|| file("authority.pem"));
    TlsFiles { certificate: file("first.pem"), key: file("first.key"), client_ca }
}

async fn connect(house: &House, alpn: &[&str], client: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let certificate = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|&name| name.into()).collect();
    let stream = TcpStream::connect(house.addr).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// The first line of the answer to a put over HTTP/1.1.
async fn put(mut stream: TlsStream<TcpStream>) -> std::io::Result<String> {
    stream.write_all(&GOOD.request("PutRecord", ONE)).await?;
    let mut start = [0; 15];
    stream.read_exact(&mut start).await?;
    Ok(String::from_utf8(start.to_vec()).unwrap())
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let house = House::with_tls(&files(false)).await;
    let stream = connect(&house, &["h2"], None).await.unwrap();
    let mut sender = http2::open(stream).await;
    assert_eq!(http2::send(&mut sender, http2::signed(ONE, http2::whole(ONE))).await.0, StatusCode::OK);
    let stream = connect(&house, &["http/1.1"], None).await.unwrap();
    assert_eq!(put(stream).await.unwrap(), "HTTP/1.1 200 OK");
    // No protocol of ours, and no TLS at all.
    assert!(connect(&house, &["spdy/3"], None).await.is_err());
    let mut plain = TcpStream::connect(house.addr).await.unwrap();
    plain.write_all(&GOOD.request("PutRecord", ONE)).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    assert_eq!(house.counters.accepted_records(), 2);
    house.close().await;
}

/// As the asynchronous client of the SDK for Java does it.
#[tokio::test]
async fn who_knows_that_it_is_http2_need_not_ask() {
    let house = House::with_tls(&files(false)).await;
    let mut sender = http2::open(connect(&house, &[], None).await.unwrap()).await;
    assert_eq!(http2::send(&mut sender, http2::signed(ONE, http2::whole(ONE))).await.0, StatusCode::OK);
    assert_eq!(put(connect(&house, &[], None).await.unwrap()).await.unwrap(), "HTTP/1.1 200 OK");
    drop(sender);
    house.close().await;
}

#[tokio::test]
async fn with_an_authority_for_clients_nobody_comes_in_without_a_certificate() {
    let house = House::with_tls(&files(true)).await;
    let stream = connect(&house, &["http/1.1"], Some("client")).await.unwrap();
    assert_eq!(put(stream).await.unwrap(), "HTTP/1.1 200 OK");
    // In TLS 1.3 a client hears of its refusal at its first read.
    let refused = match connect(&house, &["http/1.1"], None).await {
        Ok(stream) => put(stream).await,
        Err(error) => Err(error),
    };
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(house.counters.requests(), 1);
    house.close().await;
}
