//! The seed's authenticating peer: `PYILE_PASSWORD=… cargo run --example host`

use pyile::{
    HostOptions, Network, Profile,
    model::{Alias, Password},
};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let password = Password::new(std::env::var("PYILE_PASSWORD")?);
    let options = HostOptions::new(Alias::new("host")?, password);
    let (network, mut events) = Network::host(options, Profile::ephemeral()?).await?;
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => println!("{event:?}"),
                None => return Ok(()),
            },
            line = lines.next_line() => match line?.as_deref() {
                None | Some("exit") => break,
                Some("peers") => println!("{:?}", network.members().await?),
                Some(text) => println!("{:?}", network.broadcast(text).await),
            },
        }
    }
    println!("{}", network.leave().await);
    Ok(())
}
