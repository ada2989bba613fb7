//! Access-log-like JSON, varied as real traffic is: few hosts, many clients, long-tailed paths, ids that never repeat.

use std::fmt::Write;

const METHODS: &[&str] = &["GET", "GET", "GET", "GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD"];
const STATUSES: &[u16] = &[200, 200, 200, 200, 200, 200, 200, 304, 304, 301, 404, 404, 500, 502, 403];
const SECTIONS: &[&str] =
    &["presentations", "projects", "blog", "articles", "images", "reset", "files", "api/v2/orders"];
const WORDS: &[&str] = &[
    "logstash",
    "monitorama",
    "dashboard",
    "kibana",
    "search",
    "highlight",
    "plugin",
    "reveal",
    "geekery",
    "grok",
    "solving",
    "puppet",
    "vagrant",
    "debugging",
    "xdotool",
    "keynav",
    "profile",
    "checkout",
    "basket",
    "invoice",
    "report",
    "summary",
];
const HOSTS: &[&str] = &["www.example.com", "shop.example.com", "api.example.com", "static.example.net"];
const SYSTEMS: &[&str] = &[
    "Macintosh; Intel Mac OS X 10_15_7",
    "Windows NT 10.0; Win64; x64",
    "X11; Linux x86_64",
    "iPhone; CPU iPhone OS 17_4 like Mac OS X",
    "Linux; Android 14; Pixel 8",
    "X11; Ubuntu; Linux x86_64",
];
const CIPHERS: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const CACHES: &[&str] = &["HIT", "HIT", "HIT", "MISS", "EXPIRED", "BYPASS"];

/// Deterministic, so that two runs send the same bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    /// Small numbers are far more frequent, as in a Zipf distribution.
    fn long_tailed(&mut self, end: u64) -> u64 {
        let first = self.below(end) + 1;
        let second = self.below(first) + 1;
        self.below(second)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        let index = usize::try_from(self.below(from.len() as u64)).expect("an index of a slice");
        from[index]
    }
}

pub(crate) fn batches(count: usize, size: usize) -> Vec<Vec<Vec<u8>>> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut number = 0;
    let mut batch = || {
        (0..size)
            .map(|_| {
                number += 1;
                record(&mut random, number)
            })
            .collect()
    };
    (0..count).map(|_| batch()).collect()
}

fn record(random: &mut Random, number: u64) -> Vec<u8> {
    let mut text = String::with_capacity(640);
    let millis = number * 7 % 86_400_000 + random.below(50);
    let (seconds, milli) = (millis / 1000, millis % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let client = random.long_tailed(1 << 22);
    let status = STATUSES[usize::try_from(random.below(STATUSES.len() as u64)).expect("an index of a slice")];
    let version = 100 + random.below(40);
    let written = write!(
        text,
        r#"{{"ts":"2026-03-01T{hour:02}:{minute:02}:{second:02}.{milli:03}Z","request_id":"{:016x}{:016x}","client":"{}.{}.{}.{}","method":"{}","path":"/{}/{}-{}/{}","query":"id={}&session={:012x}","status":{status},"bytes":{},"latency_ms":{}.{:03},"referer":"https://{}/{}/{}","user_agent":"Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.{}.{} Safari/537.36","host":"{}","tls":"{}","cache":"{}","upstream":"10.0.{}.{}:8080"}}"#,
        random.next(),
        random.next(),
        11 + client % 200,
        client / 200 % 256,
        client / 51_200 % 256,
        random.below(256),
        random.pick(METHODS),
        random.pick(SECTIONS),
        random.pick(WORDS),
        random.pick(WORDS),
        random.long_tailed(100_000),
        random.long_tailed(1_000_000),
        random.next() >> 16,
        random.long_tailed(3_000_000),
        random.long_tailed(2_000),
        random.below(1000),
        random.pick(HOSTS),
        random.pick(SECTIONS),
        random.pick(WORDS),
        random.pick(SYSTEMS),
        4000 + random.below(3000),
        random.below(200),
        random.pick(HOSTS),
        random.pick(CIPHERS),
        random.pick(CACHES),
        random.below(4),
        random.below(250),
    );
    written.expect("a String takes any text");
    text.into_bytes()
}
