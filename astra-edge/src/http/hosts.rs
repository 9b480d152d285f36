//! Names by which browsers may reach this API.
//!
//! A web page can make a browser send requests to a device under a name that its owner points at the device's address. Such a request
//! has that name in `Host`, and the page's in `Origin`: both have to be names of this device.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::error::ApiError;

/// Names of this device, in lower case. IP addresses and `localhost` always are: nobody can point them elsewhere.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(BTreeSet<String>);

impl AllowedHosts {
    /// Those of this machine, `NAME` and `NAME.local`, and more.
    pub fn of_machine(more: &[String]) -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self::new(name.trim(), more)
    }

    fn new(name: &str, more: &[String]) -> Self {
        let own = [name.to_owned(), format!("{name}.local")];
        let own = own.into_iter().filter(|_| !name.is_empty());
        let all = own.chain(more.iter().cloned());
        Self(all.map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether `NAME` or `NAME:PORT` is one of them.
    fn allow(&self, authority: &str) -> bool {
        let name = without_port(authority).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let address = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let is_address = address.unwrap_or(name).parse::<IpAddr>().is_ok();
        is_address || name == "localhost" || self.0.contains(name)
    }

    /// The refusal of a request whose `Host` or `Origin` is another name.
    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        for value in headers.get_all(header::HOST) {
            let host = value.to_str().unwrap_or_default();
            if !self.allow(host) {
                return Err(refusal(&header::HOST, host));
            }
        }
        for value in headers.get_all(header::ORIGIN) {
            let origin = value.to_str().unwrap_or_default();
            let host = origin.split_once("://").map(|(_, host)| host);
            if !host.is_some_and(|host| self.allow(host)) {
                return Err(refusal(&header::ORIGIN, origin));
            }
        }
        Ok(())
    }
}

/// Refuses requests under names that are not this device's.
pub(super) async fn check(
    State(hosts): State<Arc<AllowedHosts>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    hosts.check(request.headers())?;
    Ok(next.run(request).await)
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colons of an address in brackets are none of a port.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

fn refusal(header: &HeaderName, found: &str) -> ApiError {
    let message = format!(
        "{header}: found {found:?}, expected an IP address, localhost, this machine's name or one of the setting http.allow_host"
    );
    ApiError::new(StatusCode::FORBIDDEN, "foreign_host", None, message)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn hosts() -> AllowedHosts {
        AllowedHosts::new("Kitchen", &["chat.example.org".to_owned()])
    }

    #[test]
    fn own_names_and_addresses_are_allowed() {
        for host in [
            "127.0.0.1:8080",
            "192.168.1.7",
            "[::1]:8080",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:80",
            "kitchen",
            "kitchen:8080",
            "kitchen.local.",
            "chat.example.org:443",
        ] {
            assert!(hosts().allow(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "kitchen.evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "example.org",
            "kitchen:8080:1",
        ] {
            assert!(!hosts().allow(host), "{host}");
        }
        // A machine without a name has no name that anybody could use.
        assert!(!AllowedHosts::new("", &[]).allow(""));
        assert!(!AllowedHosts::new("", &[]).allow(".local"));
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let check = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            hosts()
                .check(&headers)
                .map_err(|error| error.status.as_u16())
        };
        assert_eq!(check("kitchen:8080", None), Ok(()));
        assert_eq!(check("kitchen", Some("http://kitchen:8080")), Ok(()));
        assert_eq!(check("kitchen", Some("null")), Err(403));
        assert_eq!(check("kitchen", Some("http://evil.example")), Err(403));
        assert_eq!(check("evil.example", Some("http://evil.example")), Err(403));
    }
}
