//! RegisterStreamConsumer, DeregisterStreamConsumer, DescribeStreamConsumer and ListStreamConsumers.
//!
//! A consumer is ACTIVE when its registration returns, and its ARN ends in the second of that, so that a later consumer of
//! the same name has another.

use std::sync::Arc;
use std::time::Duration;

use hydrant_record::Timestamp;
use serde_json::{Value, json};

use super::model::{Named, check_name, required_id, seconds, timestamp};
use super::streams::page;
use super::token::{Kind, Token};
use super::{KinesisStream, Request, settings};
use crate::shape::{Shape, Violations};
use crate::{ApiError, StoredConsumer};

const PAGE_MAX: usize = 100;
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
const ARN_PATTERN: &str = r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+";

/// The parts of the ARN of a consumer: its stream's ARN, its name, and the second of its registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConsumerArn<'a> {
    pub(super) stream: &'a str,
    name: &'a str,
    second: u64,
}

impl<'a> ConsumerArn<'a> {
    pub(super) fn parse(arn: &'a str) -> Option<ConsumerArn<'a>> {
        let (stream, consumer) = arn.split_once("/consumer/")?;
        let (name, second) = consumer.rsplit_once(':')?;
        let plain = !name.is_empty() && second.bytes().all(|digit| digit.is_ascii_digit());
        let parsed = ConsumerArn { stream, name, second: second.parse().ok()? };
        (plain && stream.starts_with("arn:aws")).then_some(parsed)
    }

    /// The ARN that this member must have, checked.
    pub(super) fn of(shape: &Shape<'a>, to: &mut Violations) -> Result<Option<ConsumerArn<'a>>, ApiError> {
        let Some(arn) = shape.text("ConsumerARN")? else { return Ok(None) };
        let parsed = ConsumerArn::parse(arn);
        to.pattern("consumerARN", arn, (ARN_PATTERN, parsed.is_some()));
        Ok(parsed)
    }

    pub(super) fn names(&self, consumer: &StoredConsumer) -> bool {
        consumer.name == self.name && consumer.created_at_ms / 1000 == self.second
    }

    pub(super) fn find(&self, at: &Request) -> Result<(Arc<KinesisStream>, StoredConsumer), ApiError> {
        let stream = Named { name: None, arn: Some(self.stream) }.find(at)?;
        let found = stream.settings().consumers.iter().find(|one| self.names(one)).cloned();
        found.ok_or_else(|| at.no_consumer(self.name)).map(|consumer| (stream, consumer))
    }
}

impl Request {
    pub(super) fn no_consumer(&self, name: &str) -> ApiError {
        ApiError::resource_not_found(format!("Consumer {name}, account {} not found.", self.account()))
    }

    pub(super) fn consumer_arn(&self, stream: &KinesisStream, consumer: &StoredConsumer) -> String {
        format!("{}/consumer/{}:{}", self.arn(&stream.name), consumer.name, consumer.created_at_ms / 1000)
    }
}

pub(super) async fn register(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let stream = required_stream(&shape, &mut violations)?;
    let name = required_id(&shape, "ConsumerName", &mut violations)?;
    let tags = settings::tags(&shape, "Tags", &mut violations)?;
    violations.finish()?;
    settings::check_tag_count(&tags)?;
    let stream = stream.find(at)?;
    let now = at.operations.clock.now().as_millis();
    let consumer = settings::change(&stream, at, |settings| {
        let consumers = &mut settings.consumers;
        if consumers.iter().any(|known| known.name == name) {
            return Err(ApiError::in_use(format!(
                "Consumer {name} under stream {} already exists for account {}.",
                at.arn(&stream.name),
                at.account()
            )));
        }
        if let Some(most) = at.limits().consumers.filter(|most| consumers.len() as u64 >= *most) {
            return Err(ApiError::limit_exceeded(format!(
                "Stream {} under account {} has {most} registered consumers, the most that are allowed; \
                 deregister one first.",
                stream.name,
                at.account()
            )));
        }
        let created_at_ms = consumers.last().map_or(now, |last| now.max(last.created_at_ms + 1));
        consumers.push(StoredConsumer { name: name.to_owned(), created_at_ms, tags, policy: None });
        Ok(consumers[consumers.len() - 1].clone())
    })
    .await?;
    tracing::info!(stream = stream.name, consumer = consumer.name, "registered a consumer");
    Ok(json!({ "Consumer": shown(&consumer, &stream, at) }).to_string())
}

pub(super) async fn deregister(at: &Request) -> Result<String, ApiError> {
    let (stream, consumer) = named(at)?;
    settings::change(&stream, at, |settings| {
        let before = settings.consumers.len();
        settings.consumers.retain(|known| *known != consumer);
        if settings.consumers.len() < before { Ok(()) } else { Err(at.no_consumer(&consumer.name)) }
    })
    .await?;
    stream.subscriptions.end_consumer(consumer.created_at_ms);
    tracing::info!(stream = stream.name, consumer = consumer.name, "deregistered a consumer");
    Ok(String::new())
}

pub(super) fn describe(at: &Request) -> Result<String, ApiError> {
    let (stream, consumer) = named(at)?;
    let mut description = shown(&consumer, &stream, at);
    description["StreamARN"] = at.arn(&stream.name).into();
    Ok(json!({ "ConsumerDescription": description }).to_string())
}

pub(super) fn list(at: &Request) -> Result<String, ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let stream = required_stream(&shape, &mut violations)?;
    let limit = page(&shape, "MaxResults", PAGE_MAX, &mut violations)?;
    let created = timestamp(&shape, "StreamCreationTimestamp")?;
    let token = shape.text("NextToken")?;
    violations.finish()?;
    let stream = stream.find(at)?;
    if created.is_some_and(|created| created.as_millis() / 1000 != stream.created_at.as_millis() / 1000) {
        return Err(at.no_stream(&stream.name));
    }
    if token.is_some() && created.is_some() {
        return Err(ApiError::invalid_argument("NextToken and StreamCreationTimestamp cannot be provided together."));
    }
    let log = at.log(&stream)?;
    let now = at.operations.clock.now();
    let after = token.map(|token| {
        let opened = Token::open(token, Kind::Consumers, &at.kinesis().streams);
        let opened = opened.filter(|(_, of)| Arc::ptr_eq(of, &stream));
        let (token, _) = opened.ok_or_else(|| ApiError::invalid_argument("Invalid NextToken."))?;
        if now.since(token.issued_at) > TOKEN_LIFETIME {
            Err(ApiError::expired_next_token())
        } else {
            Ok(token.words[0])
        }
    });
    let after = after.transpose()?;
    let settings = stream.settings();
    let left: Vec<&StoredConsumer> =
        settings.consumers.iter().filter(|one| after.is_none_or(|after| one.created_at_ms > after)).collect();
    let page: Vec<Value> = left.iter().take(limit).map(|one| shown(one, &stream, at)).collect();
    let mut answer = json!({ "Consumers": page });
    if left.len() > limit {
        let words = [left[limit - 1].created_at_ms, 0, 0];
        answer["NextToken"] = Token { kind: Kind::Consumers, words, issued_at: now }.seal(stream.id, log).into();
    }
    Ok(answer.to_string())
}

fn required_stream<'a>(shape: &Shape<'a>, to: &mut Violations) -> Result<Named<'a>, ApiError> {
    let named = Named { name: None, arn: to.required(shape, "StreamARN", shape.text("StreamARN")?) };
    named.check(to);
    Ok(named)
}

/// By its ARN, or by its name and its stream's ARN.
fn named(at: &Request) -> Result<(Arc<KinesisStream>, StoredConsumer), ApiError> {
    let shape = Shape::root(&at.body)?;
    let mut violations = Violations::default();
    let stream = Named { name: None, arn: shape.text("StreamARN")? };
    stream.check(&mut violations);
    let name = shape.text("ConsumerName")?;
    if let Some(name) = name {
        check_name(name, "consumerName", &mut violations);
    }
    let arn = ConsumerArn::of(&shape, &mut violations)?;
    violations.finish()?;
    match (arn, name, stream.is_given()) {
        (Some(arn), _, _) => {
            let agrees = name.is_none_or(|name| name == arn.name) && stream.arn.is_none_or(|given| given == arn.stream);
            let differ = || ApiError::invalid_argument("ConsumerARN, StreamARN and ConsumerName do not agree.");
            agrees.then_some(()).ok_or_else(differ)?;
            arn.find(at)
        }
        (None, Some(name), true) => {
            let stream = stream.find(at)?;
            let found = stream.settings().consumers.iter().find(|one| one.name == name).cloned();
            found.ok_or_else(|| at.no_consumer(name)).map(|consumer| (stream, consumer))
        }
        _ => Err(ApiError::invalid_argument("Either ConsumerARN, or StreamARN and ConsumerName must be specified.")),
    }
}

fn shown(consumer: &StoredConsumer, stream: &KinesisStream, at: &Request) -> Value {
    json!({
        "ConsumerName": consumer.name,
        "ConsumerARN": at.consumer_arn(stream, consumer),
        "ConsumerStatus": "ACTIVE",
        "ConsumerCreationTimestamp": seconds(Timestamp::from_millis(consumer.created_at_ms)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_of_a_consumer_has_three_parts() {
        let stream = "arn:aws:kinesis:us-east-1:123456789012:stream/s";
        let expected = ConsumerArn { stream, name: "c.1", second: 1_700_000_000 };
        assert_eq!(ConsumerArn::parse(&format!("{stream}/consumer/c.1:1700000000")), Some(expected));
        for wrong in ["/consumer/c", "/consumer/c:", "/consumer/:7", "/consumer/c:x", "/consumer/c:+7", "/c:7", ""] {
            assert_eq!(ConsumerArn::parse(&format!("{stream}{wrong}")), None, "{wrong}");
        }
    }
}
