//! `[limits]`: how the limits bound each other.

use std::time::Duration;

use engine::{
    settings::Limits,
    topic::policy::TOPIC_PLACE_BYTES,
    unit::{show_duration, show_size},
};

use net::Io;

use super::{Server, demand};
use crate::{
    document::read::{Named, Section, contradicts, named},
    system::{Demand, Machine},
};

/// The shortest age at which connections are sent away.
const AGE_MIN: Duration = Duration::from_secs(1);

/// Patterns that select a topic, where nothing is said of all.
const LISTED_EACH: usize = 8;

/// Also `topics_bytes` as it was named, which `[state]` is compared with. `frame_bytes`: `frame_bytes_max`.
pub(super) fn limits(
    mut section: Section,
    frame_bytes: &Named<usize>,
    server: &Server,
    machine: &Machine,
) -> (Limits, Named<usize>) {
    let mut limits: Limits = section.keys();
    check_connections(&mut section, &limits, server, machine);
    check_bytes(&mut section, &limits, frame_bytes);
    let (ping, pong) = (named!(section, limits.ping), named!(section, limits.pong));
    if let Some(line) = contradicts(&pong, &ping) {
        let (ping, pong) = (show_duration(ping.value), show_duration(pong.value));
        let text = format!(
            "pong = \"{pong}\" is longer than ping = \"{ping}\": a ping would be due before the last one is given up; write at most \"{ping}\""
        );
        section.problem(line, text);
    }
    check_age(&mut section, &limits);
    let topics_bytes = follow_bytes(&section, &mut limits, frame_bytes);
    let listed = limits.topics.saturating_mul(LISTED_EACH);
    limits.pattern_topics = named!(section, limits.pattern_topics).or(|default| default.max(listed));
    [limits.patterns, limits.shard_patterns] = shares(
        &mut section,
        ("patterns_per_ip", limits.patterns_per_ip),
        ("patterns", limits.patterns),
        ("shard_patterns", limits.shard_patterns),
    );
    [limits.subscriptions, limits.classes] = shares(
        &mut section,
        ("classes_per_ip", limits.classes_per_ip),
        ("subscriptions", limits.subscriptions),
        ("classes", limits.classes),
    );
    section.finish();
    (limits, topics_bytes)
}

/// Clients that are sent away as soon as they have come are served nothing.
fn check_age(section: &mut Section, limits: &Limits) {
    let age = named!(section, limits.connection_age);
    if let (Some(line), true) = (age.line, !age.value.is_zero() && age.value < AGE_MIN) {
        let [age, least] = [age.value, AGE_MIN].map(show_duration);
        let text = format!("connection_age = \"{age}\": write at least \"{least}\", or \"0\" for any age");
        section.problem(line, text);
    }
}

fn check_connections(section: &mut Section, limits: &Limits, server: &Server, machine: &Machine) {
    let (io, demand) = (machine.io(server.io), demand(server, limits));
    let connections = named!(section, limits.connections);
    if let (Some(line), Some(wanted)) = (connections.line, connections.value) {
        if wanted == 0 {
            section.problem(line, "connections = 0: nobody could connect; write at least 1");
        } else if wanted > machine.clients_max(demand, io) {
            section.problem(line, too_many_connections(wanted, demand, io, machine));
        }
    }
    let per_ip = named!(section, limits.connections_per_ip);
    if let (Some(line), Some(all)) = (per_ip.line, connections.value)
        && per_ip.value > all
    {
        let text = format!(
            "connections_per_ip = {} is above connections = {all}: an address could take all of them; write at most {all}, or 0 for no limit",
            per_ip.value
        );
        section.problem(line, text);
    }
}

fn too_many_connections(wanted: usize, demand: Demand, io: Io, machine: &Machine) -> String {
    let (nofile, room) = (machine.nofile_hard, machine.clients_max(demand, io));
    let shards = demand.shards;
    let of_one = machine.clients_max(Demand { shards: 1, ..demand }, io);
    let (holder, remedy) = match io {
        Io::Epoll => {
            ("with epoll the process gives".to_owned(), "raise it (ulimit -Hn, LimitNOFILE=)".to_owned())
        }
        Io::IoUring if of_one == 0 => {
            (format!("{shards} shards give"), "raise it (ulimit -Hn, LimitNOFILE=)".to_owned())
        }
        Io::IoUring => {
            let enough = wanted.div_ceil(of_one);
            (format!("{shards} shards give"), format!("raise [server] shards to {enough}, or the limit"))
        }
    };
    let limit = format!("the hard limit nofile is {nofile}, {holder} room for {room} clients");
    format!("connections = {wanted} does not fit: {limit}; {remedy}")
}

/// Of a frame, a value and a body, and of what holds them.
fn check_bytes(section: &mut Section, limits: &Limits, frame_bytes: &Named<usize>) {
    let show = |limit: &Named<usize>| show_size(limit.value as u64);
    let value = named!(section, limits.value_bytes);
    let publish = named!(section, limits.publish_bytes);
    let pinned = named!(section, limits.pinned_bytes);
    let topics_bytes = named!(section, limits.topics_bytes);
    if let (Some(_), Some(line)) = (contradicts(frame_bytes, &pinned), pinned.line) {
        let (pinned, frame) = (show(&pinned), show(frame_bytes));
        let text = format!(
            "pinned_bytes = \"{pinned}\" is below [fanout] frame_bytes_max = \"{frame}\": one frame to a slow client would have it reset; raise it to at least \"{frame}\""
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&value, &publish) {
        let (publish, value) = (show(&publish), show(&value));
        let text = format!(
            "value_bytes = \"{value}\" is above publish_bytes = \"{publish}\": no body could hold such a value; write at most \"{publish}\""
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&value, &topics_bytes) {
        let (topics, value) = (show(&topics_bytes), show(&value));
        let text = format!(
            "value_bytes = \"{value}\" is above topics_bytes = \"{topics}\", which is of all values: write at most \"{topics}\""
        );
        section.problem(line, text);
    }
    if let (Some(_), Some(line)) = (contradicts(&value, &pinned), pinned.line) {
        let (pinned, value) = (show(&pinned), show(&value));
        let text = format!(
            "pinned_bytes = \"{pinned}\" is below value_bytes = \"{value}\": one such value to a slow client would have it reset; raise it to at least \"{value}\""
        );
        section.problem(line, text);
    }
}

/// Where only one side of a relation is named, the other side's default follows it. `topics_bytes` as it was named.
fn follow_bytes(section: &Section, limits: &mut Limits, frame_bytes: &Named<usize>) -> Named<usize> {
    let value = named!(section, limits.value_bytes);
    let publish = named!(section, limits.publish_bytes);
    let pinned = named!(section, limits.pinned_bytes);
    let topics_bytes = named!(section, limits.topics_bytes);
    let highest_of = |limit: &Named<usize>| limit.line.map_or(usize::MAX, |_| limit.value);
    let highest = highest_of(&publish).min(highest_of(&pinned)).min(highest_of(&topics_bytes));
    let value = value.or(|default| default.min(highest));
    // As many topics as there may be have room for their places, and as much again for names and values.
    let least = (value + TOPIC_PLACE_BYTES).max(limits.topics * 2 * TOPIC_PLACE_BYTES);
    let line = topics_bytes.line;
    limits.value_bytes = value;
    limits.topics_bytes = topics_bytes.or(|default| default.max(least));
    limits.publish_bytes = publish.or(|default| default.max(value));
    limits.pinned_bytes = pinned.or(|default| default.max(frame_bytes.value).max(value));
    Named { value: limits.topics_bytes, line }
}

/// What one connection may have of a table, and the table. An address's `share`, 0 for no limit, is at least what one
/// connection may have, at most the table. Each with its key.
fn shares(
    section: &mut Section,
    (key, value): (&'static str, usize),
    (of_connection, least): (&'static str, usize),
    (table, most): (&'static str, usize),
) -> [usize; 2] {
    let (share, least, most) =
        (section.named(key, value), section.named(of_connection, least), section.named(table, most));
    if value > 0
        && let Some(line) = contradicts(&least, &share).and(share.line)
    {
        let least = least.value;
        let text = format!(
            "{key} = {value} is below {of_connection} = {least}: one connection could not have as many; write at least {least}, or 0 for no limit"
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&share, &most).and(share.line) {
        let most = most.value;
        let text = format!(
            "{key} = {value} is above {table} = {most}: an address could take all of it; write less than {most}, or 0 for no limit"
        );
        section.problem(line, text);
    }
    if let Some(line) = contradicts(&least, &most) {
        let (least, most) = (least.value, most.value);
        let text = format!(
            "{of_connection} = {least} is above {table} = {most}: no connection could have as many; write at most {most}, or raise {table} to {least}"
        );
        section.problem(line, text);
    }
    // Where only one side of a relation is named, the other side's default follows it.
    let named = |limit: &Named<usize>| limit.line.map(|_| limit.value).filter(|value| *value > 0);
    let highest = named(&share).unwrap_or(usize::MAX).min(named(&most).unwrap_or(usize::MAX));
    let lowest = named(&least).unwrap_or(0).max(value);
    [least.or(|default| default.min(highest)), most.or(|default| default.max(lowest))]
}
