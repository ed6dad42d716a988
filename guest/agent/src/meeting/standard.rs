//! Standard input and output as one stream.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::raw;

/// Both, which an engine makes pipes. To be taken once.
pub(crate) fn streams() -> io::Result<impl AsyncRead + AsyncWrite + Unpin + 'static> {
    let input = raw::inherited(0)?;
    let output = raw::inherited(1)?;
    rustix::io::ioctl_fionbio(&input, true)?;
    rustix::io::ioctl_fionbio(&output, true)?;
    Ok(tokio::io::join(Receiver::from_owned_fd(input)?, Sender::from_owned_fd(output)?))
}
