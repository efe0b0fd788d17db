//! Whom the certificate of a client names.

use engine::access::{bad::Bad, verify::Named};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// The first URI, else the first DNS name of subjectAltName (RFC 5280, section 4.2.1.6), else the common name.
pub fn named(certificate: &[u8]) -> Result<Named, Bad> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Bad::Unreadable)?;
    let names = parsed.subject_alternative_name().map_err(|_| Bad::Unreadable)?;
    let names = || names.iter().flat_map(|names| &names.value.general_names);
    let uri = names().find_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let dns =
        || names().find_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None });
    let common = || parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let sub = uri.or_else(dns).or_else(common).map(Box::from);
    let exp_s = parsed.validity().not_after.timestamp();
    Ok(Named { sub, exp_us: exp_s.saturating_mul(1_000_000) })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn sub(alternative: Vec<SanType>, common: Option<&str>) -> Option<String> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = alternative;
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let named = named(signed.der()).unwrap();
        assert_eq!(named.exp_us, 2_208_988_800_000_000);
        named.sub.map(String::from)
    }

    #[test]
    fn a_uri_comes_before_a_dns_name_and_that_before_the_common_name() {
        let uri = SanType::URI("spiffe://example/feed".try_into().unwrap());
        let dns = SanType::DnsName("feed.example".try_into().unwrap());
        let of = |name: &str| Some(name.to_owned());
        assert_eq!(sub(vec![dns.clone(), uri], Some("feed")), of("spiffe://example/feed"));
        assert_eq!(sub(vec![dns], Some("feed")), of("feed.example"));
        assert_eq!(sub(Vec::new(), Some("feed")), of("feed"));
        assert_eq!(sub(Vec::new(), None), None);
        assert_eq!(named(b"nothing"), Err(Bad::Unreadable));
    }
}
