//! Questions that nobody on the way reads or changes: DNS over TLS (RFC 7858) and over HTTPS (RFC 8484).

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::policy::{Asking, Server};

/// Bytes of the head of an HTTP response.
const HEAD_MAX: usize = 16 * 1024;
/// Bytes of an answer; what two bytes of length can say.
const ANSWER_MAX: usize = 65_535;

/// What asking over TLS needs.
pub(super) struct Secure {
    dns: TlsConnector,
    http: TlsConnector,
}

impl Secure {
    /// Reads the machine's certificates (or SSL_CERT_FILE's, of the launcher's environment) where one of the servers is asked over TLS.
    pub(super) fn prepare(servers: &[Server]) -> io::Result<Option<Self>> {
        if servers.iter().all(|server| server.how == Asking::Plain) {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (good, _) = roots.add_parsable_certificates(found.certs);
        if good == 0 {
            let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
            return Err(io::Error::other(format!(
                "no certificates to know a resolver by (Debian: ca-certificates; or SSL_CERT_FILE): {why}"
            )));
        }
        let config = |protocol: &[u8]| -> io::Result<TlsConnector> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        Ok(Some(Self {
            dns: config(b"dot")?,
            http: config(b"http/1.1")?,
        }))
    }

    /// The bytes that the server answers a question with.
    pub(super) async fn ask(&self, server: &Server, question: &[u8]) -> io::Result<Vec<u8>> {
        let connect = async |connector: &TlsConnector, name: &str| {
            let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
            let stream = TcpStream::connect(server.address).await?;
            stream.set_nodelay(true)?;
            connector.connect(name, stream).await
        };
        match &server.how {
            Asking::Tls(name) => {
                let mut stream = connect(&self.dns, name).await?;
                framed(&mut stream, question).await
            }
            Asking::Https(name, path) => {
                let mut stream = connect(&self.http, name).await?;
                post(&mut stream, name, path, question).await
            }
            Asking::Plain => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A question and its answer, each with two bytes of length in front.
pub(super) async fn framed(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), question: &[u8]) -> io::Result<Vec<u8>> {
    let len = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes()[..], question].concat()).await?;
    stream.flush().await?;
    let mut answer = vec![0u8; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// A question and its answer as bodies of one request and response of HTTP/1.1.
async fn post(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    path: &str,
    question: &[u8],
) -> io::Result<Vec<u8>> {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/dns-message\r\nContent-Type: application/dns-message\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        question.len()
    );
    stream.write_all(&[head.as_bytes(), question].concat()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD_MAX {
            return Err(io::Error::other("the head of the response is too long"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    if status != Some("200") {
        return Err(io::Error::other(format!("status {}", status.unwrap_or("none"))));
    }
    let value = |name: &str| {
        let mut found = lines.clone().filter_map(|line| line.split_once(':'));
        found
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    let (chunked, length) = (value("transfer-encoding").is_some(), value("content-length"));
    // All of it: the server was told to close.
    let mut body = body;
    let room = ANSWER_MAX * 2;
    let wanted = length
        .filter(|_| !chunked)
        .and_then(|length| length.parse::<usize>().ok());
    while body.len() < wanted.unwrap_or(room) {
        if body.len() > room {
            return Err(io::Error::other("the answer is too long"));
        }
        match stream.read_buf(&mut body).await {
            Ok(0) => break,
            Ok(_) => {}
            // A close without TLS's own end: what is whole by its length or last chunk is taken.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    match (chunked, wanted) {
        (true, _) => unchunked(&body).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        (false, Some(len)) => body
            .get(..len)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        (false, None) => Ok(body),
    }
}

/// The body in a chunked one; RFC 9112, 7.1.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = memchr::memmem::find(rest, b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::unchunked;

    #[test]
    fn chunks_are_joined_and_what_is_cut_off_is_nothing() {
        let whole = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(unchunked(whole).as_deref(), Some(&b"abcde"[..]));
        for cut in 0..whole.len() - 4 {
            assert_eq!(unchunked(whole.get(..cut).unwrap_or_default()), None, "{cut}");
        }
        assert_eq!(unchunked(b"ffffffffffffffff\r\nx"), None);
        assert_eq!(unchunked(b"-1\r\nx"), None);
    }
}
