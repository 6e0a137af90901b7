//! A bot that answers whoever writes to it alone: `PYILE_PASSWORD=… cargo run --example bot -- HOST`

use pyile::{
    JoinOptions, Network, Profile,
    api::NodeEvent,
    model::{Alias, Password, Recipient},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::args().nth(1).ok_or("usage: bot HOST")?;
    let password = Password::new(std::env::var("PYILE_PASSWORD")?);
    let options = JoinOptions::new(&host, Alias::new("echo")?, password);
    let (network, mut events) = Network::join(options, Profile::ephemeral()?)?;
    while let Some(event) = events.next().await {
        match event {
            NodeEvent::Message { from, to: Recipient::Peer(_), text, own: false, .. } => {
                network.send(from.peer_id, format!("{}, you said: {text}", from.alias)).await?;
            }
            NodeEvent::Left { message, .. } => println!("{message}"),
            _ => {}
        }
    }
    Ok(())
}
