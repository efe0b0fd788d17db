//! What both sides agree on in the handshake: RFC 7692, 7.1.

use std::fmt;

use super::WINDOW_BITS;

/// `Sec-WebSocket-Extensions` of a client whose messages one decompressor takes for all connections.
pub const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

const NAME: &str = "permessage-deflate";

/// An offer of permessage-deflate that was accepted. As text it is the server's
/// `Sec-WebSocket-Extensions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// The server's window as a power of two, in [`WINDOW_BITS`].
    pub server_window_bits: u8,
    /// The client's window as a power of two, where its messages may refer back to earlier ones (context
    /// takeover); `None`: each of them stands for itself.
    pub client_context_bits: Option<u8>,
    /// The client asked that no message refers back to an earlier one, which a server may do unasked and
    /// unsaid: clients that did not ask would not expect the word.
    says_no_context: bool,
    /// It is said, since the client asked or it is less than usual.
    says_server_window: bool,
    /// Said where the client named a size.
    client_window_bits: Option<u8>,
}

/// The parameters of an offer or an answer, each at most once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Without a value: any.
    client_max_window_bits: Option<Option<u8>>,
}

impl Agreement {
    /// The first of `offers` (elements of `Sec-WebSocket-Extensions`, most wanted first) that can be
    /// served: an unknown, repeated or wrong parameter declines one, and so does a window of 2⁸ bytes.
    /// `window_bits`: the server's own largest window. `takes_context`: messages may refer back to earlier
    /// ones; else only an offer with `client_no_context_takeover` can be served.
    pub(crate) fn of_offers<'a>(
        offers: impl Iterator<Item = &'a str>,
        window_bits: u8,
        takes_context: bool,
    ) -> Option<Agreement> {
        let offers = offers.filter_map(Parameters::parse);
        let mut served = offers.filter(|offer| takes_context || offer.client_no_context_takeover);
        served.find_map(|offer| {
            let asked = offer.server_max_window_bits;
            let server_window_bits = asked.unwrap_or(15).min(window_bits);
            let named = offer.client_max_window_bits.flatten();
            // A client that says 8 may do 9, and is not told what zlib cannot do.
            let context_bits = named.unwrap_or(15).max(*WINDOW_BITS.start());
            WINDOW_BITS.contains(&server_window_bits).then_some(Agreement {
                server_window_bits,
                client_context_bits: (!offer.client_no_context_takeover).then_some(context_bits),
                says_no_context: offer.server_no_context_takeover,
                says_server_window: asked.is_some() || server_window_bits < 15,
                client_window_bits: named.filter(|bits| *bits > 8),
            })
        })
    }

    /// Whether a server's answer accepts [`OFFER`].
    pub(crate) fn accepts_ours(answer: &str) -> bool {
        // Its window may be smaller than what was offered, ours is not its to limit.
        Parameters::parse(answer)
            .is_some_and(|it| it.server_no_context_takeover && it.client_max_window_bits.is_none())
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.says_no_context {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_context_bits.is_none() {
            f.write_str("; client_no_context_takeover")?;
        }
        if self.says_server_window {
            write!(f, "; server_max_window_bits={}", self.server_window_bits)?;
        }
        if let Some(bits) = self.client_window_bits {
            write!(f, "; client_max_window_bits={bits}")?;
        }
        Ok(())
    }
}

impl Parameters {
    /// `None`: another extension, or one that is to be declined.
    fn parse(element: &str) -> Option<Parameters> {
        let mut words = element.split(';').map(str::trim_ascii);
        if !words.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut parameters = Parameters::default();
        for word in words {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.trim_ascii(), Some(unquoted(value.trim_ascii()))),
                None => (word, None),
            };
            match (name.to_ascii_lowercase().as_str(), value) {
                ("server_no_context_takeover", None) => once(&mut parameters.server_no_context_takeover)?,
                ("client_no_context_takeover", None) => once(&mut parameters.client_no_context_takeover)?,
                ("server_max_window_bits", Some(bits)) if parameters.server_max_window_bits.is_none() => {
                    parameters.server_max_window_bits = Some(window_bits(bits)?);
                }
                ("client_max_window_bits", bits) if parameters.client_max_window_bits.is_none() => {
                    let bits = bits.map(|bits| window_bits(bits).ok_or(())).transpose().ok()?;
                    parameters.client_max_window_bits = Some(bits);
                }
                _ => return None,
            }
        }
        Some(parameters)
    }
}

fn once(flag: &mut bool) -> Option<()> {
    let fresh = !*flag;
    *flag = true;
    fresh.then_some(())
}

/// 8 to 15 without leading zeros (RFC 7692, 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    (8..=15).find(|bits: &u8| bits.to_string() == value)
}

/// A value may stand in quotes (RFC 6455, 9.1).
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(offers: &str, window_bits: u8, takes_context: bool) -> Option<Agreement> {
        Agreement::of_offers(offers.split(',').map(str::trim_ascii), window_bits, takes_context)
    }

    fn answer(offers: &str) -> Option<String> {
        agreed(offers, 15, true).map(|agreed| agreed.to_string())
    }

    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn every_parameter_is_answered_as_the_rfc_says_and_none_that_was_not_offered() {
        for (offer, extra) in [
            ("permessage-deflate", ""),
            ("permessage-deflate; server_no_context_takeover", "; server_no_context_takeover"),
            ("permessage-deflate;client_no_context_takeover", "; client_no_context_takeover"),
            (
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                "; server_no_context_takeover; client_no_context_takeover",
            ),
            ("Permessage-Deflate ; client_max_window_bits", ""),
            ("permessage-deflate; client_max_window_bits=10", "; client_max_window_bits=10"),
            ("permessage-deflate; client_max_window_bits=8", ""),
            ("permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=9"),
            (r#"permessage-deflate; server_max_window_bits="15""#, "; server_max_window_bits=15"),
            (
                "permessage-deflate; client_max_window_bits=15; server_max_window_bits=12",
                "; server_max_window_bits=12; client_max_window_bits=15",
            ),
        ] {
            assert_eq!(answer(offer), Some(format!("permessage-deflate{extra}")), "{offer}");
        }
    }

    #[test]
    fn a_clients_messages_refer_back_as_far_as_it_offered() {
        for (offer, bits) in [
            ("permessage-deflate", Some(15)),
            ("permessage-deflate; server_no_context_takeover", Some(15)),
            ("permessage-deflate; client_max_window_bits", Some(15)),
            ("permessage-deflate; client_max_window_bits=12", Some(12)),
            ("permessage-deflate; client_max_window_bits=8", Some(9)),
            ("permessage-deflate; client_no_context_takeover", None),
            ("permessage-deflate; client_max_window_bits=12; client_no_context_takeover", None),
        ] {
            assert_eq!(agreed(offer, 15, true).unwrap().client_context_bits, bits, "{offer}");
        }
    }

    #[test]
    fn without_room_for_a_context_only_an_offer_without_one_is_served() {
        for offer in ["permessage-deflate", "permessage-deflate; client_max_window_bits"] {
            assert_eq!(agreed(offer, 15, false), None, "{offer}");
            let two = format!("{offer}, permessage-deflate; client_no_context_takeover");
            assert_eq!(agreed(&two, 15, false).unwrap().client_context_bits, None);
            assert_eq!(agreed(&two, 15, true).unwrap().client_context_bits, Some(15));
        }
    }

    #[test]
    fn an_offer_that_cannot_be_served_is_declined_and_the_next_one_looked_at() {
        for offer in [
            "",
            "permessage-bzip2",
            "x-webkit-deflate-frame",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; memory_level=3",
            "permessage-deflate;",
        ] {
            assert_eq!(answer(offer), None, "{offer}");
            let with_other = format!("{offer}, permessage-deflate; server_max_window_bits=11");
            assert_eq!(
                answer(&with_other),
                Some("permessage-deflate; server_max_window_bits=11".into()),
                "{offer}"
            );
        }
    }

    #[test]
    fn a_smaller_window_of_our_own_is_said() {
        let agreed = |offer| agreed(offer, 10, true).unwrap();
        assert_eq!(agreed("permessage-deflate").to_string(), "permessage-deflate; server_max_window_bits=10");
        assert_eq!(agreed("permessage-deflate; server_max_window_bits=9").server_window_bits, 9);
        assert_eq!(agreed("permessage-deflate; server_max_window_bits=12").server_window_bits, 10);
    }

    #[test]
    fn an_answer_accepts_our_offer_or_does_not() {
        for (answer, accepts) in [
            (BOTH, true),
            ("permessage-deflate; server_no_context_takeover", true),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits=10", true),
            ("permessage-deflate", false),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=10", false),
            ("permessage-deflate; server_no_context_takeover; x", false),
            ("x-other", false),
        ] {
            assert_eq!(Agreement::accepts_ours(answer), accepts, "{answer}");
        }
    }
}
