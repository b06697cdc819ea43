// SPDX-License-Identifier: Apache-2.0

//! The driver for tonic: tests/support/drivers.py says what a driver does.

use bytes::{Buf, BufMut, Bytes};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, path::Path};
use tokio_stream::{Stream, StreamExt};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Messages are bytes already.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}

#[derive(Clone)]
struct Scenario {
    name: String,
    kind: String,
    path: String,
    count: usize,
    parallel: usize,
    pause: u64,
    requests: Vec<Bytes>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().collect();
    let (address, plan, out) = (&arguments[1], &arguments[2], &arguments[3]);
    let mut endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    if let Ok(seconds) = env::var("KEEPALIVE_SECONDS") {
        endpoint = endpoint.http2_keep_alive_interval(Duration::from_secs(seconds.parse().unwrap()));
    }
    let channel = endpoint.connect_lazy();
    for line in fs::read_to_string(plan).unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let scenario = Scenario {
            name: fields[0].into(),
            kind: fields[1].into(),
            path: fields[2].into(),
            count: fields[3].parse().unwrap(),
            parallel: fields[4].parse().unwrap(),
            pause: fields[5].parse().unwrap(),
            requests: read(fields[6]),
        };
        let name = scenario.name.clone();
        let (code, detail) = run(channel.clone(), scenario, out.clone()).await;
        println!("{{\"name\": \"{name}\", \"code\": {code}, \"detail\": {detail:?}}}");
    }
}

async fn run(channel: Channel, scenario: Scenario, out: String) -> (i32, String) {
    let next = Arc::new(AtomicUsize::new(0));
    let failure: Arc<Mutex<Option<Status>>> = Arc::default();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..scenario.parallel {
        let (channel, scenario, out) = (channel.clone(), scenario.clone(), out.clone());
        let (next, failure) = (next.clone(), failure.clone());
        workers.spawn(async move {
            let load = scenario.kind == "load";
            let stop = format!("{out}/stop");
            while failure.lock().unwrap().is_none() {
                if load && Path::new(&stop).exists() {
                    return;
                }
                let index = next.fetch_add(1, Ordering::Relaxed);
                if !load && index >= scenario.count {
                    return;
                }
                match call(channel.clone(), &scenario, index).await {
                    Err(status) => _ = failure.lock().unwrap().get_or_insert(status),
                    Ok(_) if load => (),
                    Ok(replies) => write(&format!("{out}/{}.{index}", scenario.name), &replies),
                }
            }
        });
    }
    workers.join_all().await;
    let failure = failure.lock().unwrap().take();
    match failure {
        None => (0, format!("{} calls", next.load(Ordering::Relaxed))),
        Some(status) => (status.code() as i32, status.message().replace(|c: char| c == '\'' || c.is_control(), " ")),
    }
}

async fn call(channel: Channel, scenario: &Scenario, index: usize) -> Result<Vec<Bytes>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(1 << 30).max_encoding_message_size(1 << 30);
    grpc.ready().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let path = scenario.path.parse().unwrap();
    let timeout = Duration::from_secs(30 + scenario.pause * scenario.requests.len() as u64);
    match scenario.kind.as_str() {
        "unary" | "load" => {
            let mut request = Request::new(scenario.requests[index % scenario.requests.len()].clone());
            request.set_timeout(timeout);
            Ok(vec![grpc.unary(request, path, Raw).await?.into_inner()])
        }
        "client_stream" => {
            let mut request = Request::new(paced(scenario));
            request.set_timeout(timeout);
            Ok(vec![grpc.client_streaming(request, path, Raw).await?.into_inner()])
        }
        _ => {
            let mut request = Request::new(paced(scenario));
            request.set_timeout(timeout);
            let mut stream = grpc.streaming(request, path, Raw).await?.into_inner();
            let mut replies = Vec::new();
            while let Some(reply) = stream.message().await? {
                replies.push(reply);
            }
            Ok(replies)
        }
    }
}

fn paced(scenario: &Scenario) -> impl Stream<Item = Bytes> + Send + 'static {
    let pause = Duration::from_secs(scenario.pause);
    tokio_stream::iter(scenario.requests.clone().into_iter().enumerate()).then(move |(index, request)| async move {
        if index > 0 {
            tokio::time::sleep(pause).await;
        }
        request
    })
}

fn read(path: &str) -> Vec<Bytes> {
    let mut data = Bytes::from(fs::read(path).unwrap());
    let mut messages = Vec::new();
    while data.has_remaining() {
        let length = data.get_u32() as usize;
        messages.push(data.split_to(length));
    }
    messages
}

fn write(path: &str, messages: &[Bytes]) {
    let mut data = Vec::new();
    for message in messages {
        data.put_u32(message.len() as u32);
        data.extend_from_slice(message);
    }
    fs::write(path, data).unwrap();
}
