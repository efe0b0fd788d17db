//! A log line as it is written: one line of visible characters, of bounded length.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use super::Format;

/// Bytes of a line before what is escaped in it; what is beyond is cut off.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Of a JSON line that is longer: bytes of each of its texts.
const TEXT_BYTES_MAX: usize = 1024;

/// Makes writers that take one formatted event each.
pub(super) struct Lines<O> {
    pub format: Format,
    pub out: O,
}

pub(super) struct Line<W> {
    format: Format,
    out: W,
}

impl<'a, W: Write, O: Fn() -> W> MakeWriter<'a> for Lines<O> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Line<W> {
        Line { format: self.format, out: (self.out)() }
    }
}

impl<W: Write> Write for Line<W> {
    /// An event comes whole, with its line feed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = escape(&bound(text, self.format));
        line.push('\n');
        self.out.write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn bound(text: &str, format: Format) -> Cow<'_, str> {
    if text.len() <= LINE_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    if format == Format::Json
        && let Ok(mut value) = serde_json::from_str(text)
    {
        shorten(&mut value);
        return Cow::Owned(value.to_string());
    }
    Cow::Owned(cut(text, LINE_BYTES_MAX))
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT_BYTES_MAX => *text = cut(text, TEXT_BYTES_MAX),
        Value::Object(members) => members.values_mut().for_each(shorten),
        Value::Array(elements) => elements.iter_mut().for_each(shorten),
        _ => {}
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    let end = boundary(text, bytes_max);
    format!("{}… ({} bytes more)", &text[..end], text.len() - end)
}

/// The last place up to `bytes_max` where no character is divided.
pub(super) fn boundary(text: &str, bytes_max: usize) -> usize {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// Characters that end a line, move a terminal's cursor, or change how what follows looks, as JSON escapes
/// them. In a JSON line they stand in texts only.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if is_invisible(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to memory does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            _ => out.push(character),
        }
    }
    out
}

/// Control characters, separators of lines, and Unicode's format characters: of direction, of width none, tags.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing_subscriber::{fmt, prelude::*};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written where `text` comes from outside, in a message and in fields of each kind.
    fn written(format: Format, text: &str) -> String {
        let shared = Shared::default();
        let out = shared.clone();
        let lines = Lines { format, out: move || out.clone() };
        let log = || {
            tracing::info!("from outside: {text}");
            tracing::warn!(%text, shown = ?text, plain = text, "a field");
        };
        match format {
            Format::Text => {
                let layer = fmt::layer().with_writer(lines);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
            }
            Format::Json => {
                let layer = fmt::layer().json().with_writer(lines);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
            }
        }
        String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn text_from_outside_never_breaks_a_line_or_hides_in_it() {
        let mut bad: Vec<char> = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32).collect();
        bad.extend(
            "\u{ad}\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}".chars(),
        );
        bad.extend("\u{feff}\u{e0001}".chars());
        for format in [Format::Text, Format::Json] {
            for &character in &bad {
                let text = format!("a{character}2026-01-01T00:00:00Z ERROR gateway: forged \u{1b}[2J é 価");
                let log = written(format, &text);
                assert_eq!(log.matches('\n').count(), 2, "{log:?}");
                let inside = log.replace('\n', "");
                assert!(!inside.chars().any(|c| bad.contains(&c)), "{character:?}: {log:?}");
                assert!(log.contains("é 価"), "what is visible stays: {log}");
                if format == Format::Json {
                    for line in log.lines() {
                        serde_json::from_str::<Value>(line).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn lines_are_bounded_and_say_what_was_cut_off() {
        let text = "é\u{1b}\n".repeat(100_000);
        for format in [Format::Text, Format::Json] {
            let log = written(format, &text);
            assert_eq!(log.lines().count(), 2);
            for line in log.lines() {
                // Each character becomes six at most.
                assert!(line.len() < 6 * LINE_BYTES_MAX && line.contains("bytes more)"), "{}", line.len());
                if format == Format::Json {
                    serde_json::from_str::<Value>(line).unwrap();
                }
            }
        }
    }
}
