//! The screen's loop: drains all that happened, folds it through the reducer, performs the effects, draws once.

use std::{
    future::pending,
    io::{self, IsTerminal as _},
    time::Instant,
};

use color_eyre::eyre::WrapErr as _;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{self, sleep_until},
};

use super::{OpenedNetwork, exit_code, host_options, join_options, open_profile, signals, wall_clock};
use crate::{
    api::{Finding, NodeCommand, StoreEvent},
    app::{
        self, Defaults, Effect, Event, Open, State,
        launch::form::{Form, FormKind},
    },
    config::{self, Config, HostSettings, Mode},
    doctor::Doctor,
    model::{CloseReason, Closed, JoinTarget, Policy, Recipient, Sighting, Wire, limits},
    network::Network,
    security::words,
    store::Profile,
    terminal, ui,
};

/// Runs the full-screen program.
pub(super) async fn run(config: Config) -> color_eyre::Result<u8> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let message = "the screen needs a terminal; for a program use --json";
        return Ok(super::usage(false, message));
    }
    let profile = match open_profile(&config) {
        Ok(profile) => profile,
        Err(message) => return Ok(super::usage(false, &message)),
    };
    terminal::restore_on_panic();
    let mut stop = signals::stop().wrap_err("cannot watch for signals")?;
    let mut screen = Screen::new(config, profile)?;
    let outcome = screen.run(&mut stop).await;
    let code = screen.finish().await;
    outcome?;
    Ok(code)
}

struct Screen {
    terminal: terminal::Guard,
    state: State,
    config: Config,
    profile: Profile,
    keyboard: terminal::Keyboard,
    continued: mpsc::Receiver<()>,
    /// Another program has the terminal: the draft of this conversation is written there.
    editing: Option<Editing>,
    /// How the window is called now.
    titled: String,
    /// The terminal is no more.
    is_blind: bool,
    /// The screen that was drawn last: keys from before are not for this one.
    shown: Option<std::mem::Discriminant<app::Screen>>,
    stored_tx: mpsc::Sender<StoreEvent>,
    stored: mpsc::Receiver<StoreEvent>,
    /// Looks at a host that could not be joined.
    examining: Option<JoinHandle<()>>,
    /// Networks around, as they are heard on the launch screen.
    nearby: mpsc::Receiver<Sighting>,
    nearby_tx: mpsc::Sender<Sighting>,
    listening: Option<JoinHandle<()>>,
    found_tx: mpsc::Sender<(String, Finding)>,
    found: mpsc::Receiver<(String, Finding)>,
    opening: Option<JoinHandle<Result<OpenedNetwork, Closed>>>,
    network: Option<OpenedNetwork>,
    done: bool,
    drawn: Instant,
    redraw: Redraw,
}

/// A draft that is written in another program.
struct Editing {
    /// For whom it is.
    with: Recipient,
    editor: JoinHandle<Result<String, String>>,
    /// Has the program end.
    stop: oneshot::Sender<()>,
}

/// When the next frame is wanted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Redraw {
    No,
    Soon,
    Now,
}

impl Screen {
    fn new(config: Config, profile: Profile) -> color_eyre::Result<Self> {
        let kept = profile.host();
        let defaults = Defaults {
            alias: super::host_alias(&config, kept.as_ref()),
            // Members come back to where the network was; only what was asked for is stronger.
            listen: config
                .host
                .listen
                .or(kept.as_ref().and_then(|kept| kept.listen))
                .unwrap_or_else(config::default_listen),
            network: config
                .network
                .clone()
                .or(kept.as_ref().map(|kept| kept.network.name.clone()))
                .unwrap_or_default(),
            has_kept_password: kept.is_some() || config.password.is_some(),
            offered: words::password().ok(),
            // As the last time; it stands in the form, for all to see.
            classic: config.host.policy.classic
                || !config.host.approve && kept.as_ref().is_some_and(|kept| kept.classic),
            announce: config.host.announce,
            map_port: config.host.map_port,
            knows_classic: kept.as_ref().is_some_and(|kept| kept.classic),
            zone: jiff::tz::TimeZone::system(),
            color: config.screen.color,
        };
        let terminal = terminal::Guard::take(config.screen.only_ascii.is_some(), config.screen.mouse)
            .wrap_err("cannot use the terminal")?;
        let size = terminal.size()?;
        let (stored_tx, stored) = mpsc::channel(limits::STORE_COMMANDS);
        let (found_tx, found) = mpsc::channel(limits::STORE_COMMANDS);
        let (nearby_tx, nearby) = mpsc::channel(limits::NEARBY);
        let mut state = State::new(defaults, profile.recents(), size, wall_clock());
        (state.themes, state.keymap) = (config.screen.themes.clone(), config.screen.keymap.clone());
        state.notices = config.screen.notices;
        state.verified = profile.verified();
        state.only_ascii = config.screen.only_ascii.is_some();
        let remarks = [config.screen.only_ascii.as_deref(), config.unknown_zone.as_deref(), profile.remark()];
        let remarks: Vec<&str> = remarks.into_iter().flatten().collect();
        if !remarks.is_empty() {
            let remarks = remarks.join("; ");
            tracing::warn!("{remarks}");
            app::update(&mut state, wall_clock(), Event::Remark(remarks));
        }
        Ok(Self {
            state,
            terminal,
            config,
            profile,
            keyboard: terminal::Keyboard::watch().wrap_err("cannot read the keyboard")?,
            editing: None,
            continued: signals::continued().wrap_err("cannot watch for signals")?,
            titled: String::new(),
            is_blind: false,
            shown: None,
            stored_tx,
            stored,
            opening: None,
            examining: None,
            nearby,
            nearby_tx,
            listening: None,
            found_tx,
            found,
            network: None,
            done: false,
            drawn: Instant::now(),
            redraw: Redraw::Now,
        })
    }

    async fn run(&mut self, stop: &mut super::Stop) -> color_eyre::Result<()> {
        self.begin()?;
        while !self.done {
            let due = match self.redraw {
                Redraw::No => None,
                Redraw::Now => Some(Instant::now()),
                Redraw::Soon => Some(self.drawn + limits::FRAME_TIME),
            };
            if due.is_some_and(|due| due <= Instant::now()) && !self.is_away() {
                self.draw()?;
                continue;
            }
            let due = due.filter(|_| !self.is_away());
            let tick = app::next_tick(&self.state).map(|wait| Instant::now() + wait.max(limits::TICK_LEAST));
            let wake = [due, tick].into_iter().flatten().min();
            let timer = async {
                match wake {
                    Some(at) => sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                key = self.keyboard.events.recv(), if !self.is_blind => match key {
                    Some(terminal::Happening::Event(event)) => self.key(event)?,
                    Some(terminal::Happening::Gone) | None => {
                        self.is_blind = true;
                        self.stop();
                    }
                },
                // While another program has the terminal, Ctrl-C is for that program.
                Some(asked) = stop.recv() => {
                    if self.editing.is_none() || asked == super::Asked::BySystem {
                        self.stop();
                    }
                }
                (with, text) = edited(&mut self.editing) => {
                    self.terminal.retake()?;
                    self.keyboard.resume();
                    self.titled.clear();
                    self.take(Event::Edited(with, text), Redraw::Now)?;
                }
                Some(()) = self.continued.recv(), if self.editing.is_none() => {
                    self.terminal.retake()?;
                    self.titled.clear();
                    self.redraw = Redraw::Now;
                }
                event = next_event(&mut self.network) => match event {
                    Some(event) => self.node(event)?,
                    None => self.network = None,
                },
                Some(sighting) = self.nearby.recv() => {
                    self.take(Event::Nearby(sighting), Redraw::Soon)?;
                }
                Some((target, finding)) = self.found.recv() => {
                    self.take(Event::Found(target, finding), Redraw::Now)?;
                }
                Some(event) = self.stored.recv() => self.take(Event::Store(event), Redraw::Now)?,
                opened = finished(&mut self.opening) => self.opened(opened)?,
                () = timer => self.take(Event::Tick, if due.is_some() { Redraw::No } else { Redraw::Now })?,
            }
        }
        Ok(())
    }

    /// What was asked for on the command line.
    fn begin(&mut self) -> color_eyre::Result<()> {
        // It may hold an invite, which is of use once.
        let mode = std::mem::replace(&mut self.config.mode, Mode::Launch);
        let open = match mode {
            Mode::Launch | Mode::History { .. } | Mode::Doctor { .. } | Mode::Networks => return Ok(()),
            Mode::Demo => Open::Demo,
            // Without a password the form asks for it.
            Mode::Host => {
                let form = Form::to_host(&self.state.defaults);
                self.show(form, Wire::Native)
            }
            Mode::Join(target, wire) => {
                let alias = super::join_alias(&self.config, &target, &self.profile);
                let typed = match &target {
                    JoinTarget::Host(host) => host.clone(),
                    JoinTarget::Invite(invite) => invite.link().to_string(),
                };
                let form = Form::to_join(&typed, &alias, wire);
                self.config.alias = alias;
                self.show(form, wire)
            }
        };
        let open = match open {
            Open::Host { password: None, .. } if !self.state.defaults.has_kept_password => return Ok(()),
            Open::Join { password: None, ref target, wire, .. }
                if wire == Wire::Classic
                    || !target.has_pass() && super::known(target, &self.profile).is_none() =>
            {
                return Ok(());
            }
            open => open,
        };
        self.take(Event::Asked(open), Redraw::Now)
    }

    fn show(&mut self, form: Form, wire: Wire) -> Open {
        let (kind, alias) = (form.kind, self.config.alias.clone());
        let password = self.config.password.clone();
        let target = form.fields.first().map(|field| field.value.text().to_owned()).unwrap_or_default();
        if let Some(launch) = self.state.launch_mut() {
            launch.form = Some(form);
        }
        match kind {
            FormKind::Host => {
                let (listen, network) = (self.state.defaults.listen, self.config.network.clone());
                let HostSettings { policy: Policy { classic, .. }, announce, map_port, .. } =
                    self.config.host;
                Open::Host { listen, alias, network, password, classic, announce, map_port }
            }
            FormKind::Join => {
                // It was read once already.
                let target = target.parse().unwrap_or(JoinTarget::Host(target));
                Open::Join { target, alias, password, wire }
            }
        }
    }

    fn draw(&mut self) -> color_eyre::Result<()> {
        // Of several resizes in a row the terminal may tell only some.
        let size = self.terminal.size()?;
        if size != self.state.size {
            self.take(Event::Terminal(crossterm::event::Event::Resize(size.0, size.1)), Redraw::Now)?;
        }
        self.redraw = Redraw::No;
        self.drawn = Instant::now();
        let state = &self.state;
        self.terminal.set_ascii(state.palette().only_ascii)?;
        self.terminal.draw(|frame| {
            let links = ui::draw(state, frame).into_iter();
            links.map(|ui::Link { x, y, width, url }| terminal::Link { x, y, width, url }).collect()
        })?;
        let title = self.state.title();
        if title != self.titled {
            self.terminal.title(&title)?;
            self.titled = title;
        }
        self.shown = Some(std::mem::discriminant(&self.state.screen));
        self.listen_around();
        Ok(())
    }

    /// Hears the networks around while the launch screen is shown.
    fn listen_around(&mut self) {
        let is_launch = self.state.room().is_none();
        match &self.listening {
            None if is_launch => {
                self.listening = Some(tokio::spawn(super::networks::listen(self.nearby_tx.clone())));
            }
            Some(listening) if !is_launch => {
                listening.abort();
                self.listening = None;
                // The next time begins with nothing heard.
                while self.nearby.try_recv().is_ok() {}
            }
            _ => {}
        }
    }

    /// Something comes from the keyboard. What was typed before a screen was drawn was meant for the one before: a password
    /// typed from habit must not become a message.
    fn key(&mut self, event: crossterm::event::Event) -> color_eyre::Result<()> {
        use crossterm::event::Event::{Key, Paste};
        let is_meant = self.shown == Some(std::mem::discriminant(&self.state.screen));
        if matches!(event, Key(_) | Paste(_)) && !is_meant {
            return Ok(());
        }
        self.take(Event::Terminal(event), Redraw::Now)
    }

    /// Messages that pour in are taken all together and drawn once.
    fn node(&mut self, event: crate::api::NodeEvent) -> color_eyre::Result<()> {
        let mut next = Some(event);
        while let Some(event) = next {
            self.take(Event::Node(event), Redraw::Soon)?;
            // A key must not wait for a flood.
            if !self.keyboard.events.is_empty() {
                break;
            }
            next = self.network.as_mut().and_then(|opened| opened.events.try_next_whole());
        }
        if self.state.room().is_some() {
            // It has done its work: a host keeps its record, a member comes back by its key.
            self.config.password = None;
        }
        Ok(())
    }

    fn take(&mut self, event: Event, redraw: Redraw) -> color_eyre::Result<()> {
        self.redraw = self.redraw.max(redraw);
        for effect in app::update(&mut self.state, wall_clock(), event) {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> color_eyre::Result<()> {
        match effect {
            Effect::Node(command) => {
                let refused =
                    self.network.as_ref().and_then(|opened| opened.network.try_command(command).err());
                if let Some(command) = refused {
                    self.take(Event::Refused(command), Redraw::Now)?;
                }
            }
            Effect::Store(command) => self.profile.command(command, &self.stored_tx),
            Effect::Open(open) => self.open(open),
            Effect::Diagnose(target) => self.diagnose(target),
            Effect::Copy(_) | Effect::Bell | Effect::Notify(_) if self.editing.is_some() => {}
            Effect::Copy(text) => self.terminal.copy(&text)?,
            Effect::Bell => self.terminal.bell()?,
            Effect::Notify(text) => self.terminal.notify(&text)?,
            Effect::Edit(with, draft) => {
                self.keyboard.pause();
                self.terminal.lend();
                let (stop, stopped) = oneshot::channel();
                let editor = tokio::spawn(super::editor::edit(draft, stopped));
                self.editing = Some(Editing { with, editor, stop });
            }
            Effect::OpenLink(link) => {
                if !opened(&link) {
                    let text = "nothing here opens links; copy it, or click on it".to_owned();
                    self.take(Event::Remark(text), Redraw::Now)?;
                }
            }
            Effect::Suspend => {
                self.terminal.suspend()?;
                self.titled.clear();
                self.redraw = Redraw::Now;
            }
            Effect::Redraw => {
                self.terminal.clear()?;
                self.redraw = Redraw::Now;
            }
            Effect::Quit => self.done = true,
        }
        Ok(())
    }

    /// Looks at a host from outside, in the name of this profile.
    fn diagnose(&mut self, typed: String) {
        let (profile, found) = (self.profile.clone(), self.found_tx.clone());
        let examining = async move {
            let target = crate::network::with_port(&typed);
            let known = profile.recents().into_iter().find(|known| known.target == target);
            let pin = known.map(|known| known.peer_id).filter(|host| host.wire() == Wire::Native);
            let (platform, identity) = (crate::net::SystemPlatform, profile.identity());
            let mut tell = |finding| _ = found.try_send((typed.clone(), finding));
            let mut doctor = Doctor { target: &target, platform: &platform, identity, pin, found: &mut tell };
            let _ = doctor.diagnose().await;
        };
        self.stop_examining();
        self.examining = Some(tokio::spawn(examining));
    }

    /// Nobody sees what is drawn.
    fn is_away(&self) -> bool {
        self.is_blind || self.editing.is_some()
    }

    fn stop_examining(&mut self) {
        if let Some(examining) = self.examining.take() {
            examining.abort();
        }
    }

    fn open(&mut self, open: Open) {
        self.stop_examining();
        let mut config = self.config.clone();
        let profile = self.profile.clone();
        // What is typed is worth more than what was configured.
        let given = config.password.take();
        self.opening = Some(tokio::spawn(async move {
            let (network, events) = match open {
                Open::Demo => {
                    let (network, events, bots) = super::demo::open(config.alias).await?;
                    return Ok(OpenedNetwork { network, events, _bots: Some(bots) });
                }
                Open::Host { listen, alias, network, password, classic, announce, map_port } => {
                    let password = password.or(given);
                    let policy = Policy { classic, ..config.host.policy };
                    let host =
                        HostSettings { listen: Some(listen), policy, announce, map_port, ..config.host };
                    let config = Config { alias, password, network, host, ..config };
                    Network::host(host_options(&config, None), profile).await?
                }
                Open::Join { target, alias, password, wire } => {
                    let password = password.or(given);
                    let config = Config { alias, password, ..config };
                    Network::join(join_options(&config, target, wire), profile)?
                }
            };
            Ok(OpenedNetwork { network, events, _bots: None })
        }));
    }

    fn opened(&mut self, opened: Result<OpenedNetwork, Closed>) -> color_eyre::Result<()> {
        self.opening = None;
        match opened {
            Ok(network) => self.network = Some(network),
            Err(closed) => self.take(Event::OpenFailed(closed), Redraw::Now)?,
        }
        Ok(())
    }

    /// The system asks the process to end.
    fn stop(&mut self) {
        self.state.quitting = true;
        match &self.network {
            Some(opened) => _ = opened.network.try_command(NodeCommand::Leave),
            None => self.done = true,
        }
        // A second request does not wait.
        if std::mem::replace(&mut self.state.leaving, true) {
            self.done = true;
        }
    }

    /// Leaves what is still open, gives the terminal back, and says how it ended.
    async fn finish(self) -> u8 {
        let Self { terminal, network, state, opening, editing, .. } = self;
        if let Some(Editing { editor, stop, .. }) = editing {
            let _ = stop.send(());
            if let Ok(Ok(Err(message))) = time::timeout(limits::LEAVE_TIMEOUT * 2, editor).await {
                super::tell(&message);
            }
        }
        drop(terminal);
        if let Some(opening) = opening {
            opening.abort();
        }
        if let Some(opened) = network {
            let _ = time::timeout(limits::LEAVE_TIMEOUT * 2, opened.network.leave()).await;
        }
        match state.ended {
            Some(closed) if !state.quitting && closed.reason == CloseReason::Internal => {
                exit_code(closed.reason)
            }
            _ => 0,
        }
    }
}

/// Has the system open a link, with the first of its programs that is there. It needs no password and no terminal.
fn opened(link: &str) -> bool {
    use std::process::Stdio;
    open::commands(link).into_iter().any(|mut command| {
        command.env_remove("PYILE_PASSWORD").env_remove("PYILE_INVITE");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn();
        // Its end is waited for, so that nothing is left of it.
        child.map(|mut child| tokio::task::spawn_blocking(move || child.wait())).is_ok()
    })
}

async fn next_event(network: &mut Option<OpenedNetwork>) -> Option<crate::api::NodeEvent> {
    match network {
        Some(opened) => opened.events.next_whole().await,
        None => pending().await,
    }
}

async fn edited(editing: &mut Option<Editing>) -> (Recipient, Result<String, String>) {
    match editing {
        Some(Editing { with, editor, .. }) => {
            let (with, text) = (*with, editor.await);
            *editing = None;
            (with, text.unwrap_or_else(|error| Err(format!("the editor could not be run: {error}"))))
        }
        None => pending().await,
    }
}

async fn finished(
    opening: &mut Option<JoinHandle<Result<OpenedNetwork, Closed>>>,
) -> Result<OpenedNetwork, Closed> {
    match opening {
        Some(task) => {
            let result = task.await;
            *opening = None;
            result.unwrap_or_else(|error| Err(Closed::new(CloseReason::Internal, error.to_string())))
        }
        None => pending().await,
    }
}
