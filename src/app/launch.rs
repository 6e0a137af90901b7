//! The launch screen: host, join or demo, recent networks, and a form for each choice.

use std::net::SocketAddr;

use super::{Open, composer::Composer, strength::Strength};
use crate::{
    api::Finding,
    model::{
        Alias, Answer, CloseReason, Closed, JoinTarget, KnownHost, NearbyNetwork, Password, PeerId, Sighting,
        Wire, limits,
    },
};

/// What a form opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormKind {
    /// A new network.
    Host,
    /// An existing one.
    Join,
}

/// Which value a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName {
    /// This peer's label.
    Alias,
    /// The network's name.
    Network,
    /// The join address.
    Listen,
    /// The host to join.
    Target,
    /// The network's password.
    Password,
    /// Classic peers, or a classic host: a switch.
    Classic,
    /// Those around are told of the network: a switch.
    Announce,
    /// The router is asked to let others in from the internet: a switch.
    MapPort,
}

impl FieldName {
    /// Its label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Alias => "Your name",
            Self::Network => "Network",
            Self::Listen => "Listen on",
            Self::Target => "Address",
            Self::Password => "Password",
            Self::Classic => "Classic",
            Self::Announce => "Around",
            Self::MapPort => "Router",
        }
    }
}

/// One value of a form.
#[derive(Debug, Clone)]
pub struct Field {
    /// Which.
    pub name: FieldName,
    /// What is typed.
    pub value: Composer,
    /// What is wrong with it.
    pub error: Option<String>,
    /// What an empty one means; of a switch, what it switches on.
    pub placeholder: &'static str,
    /// A switch: on or off.
    pub is_on: Option<bool>,
}

/// What a form is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Being filled in.
    Editing,
    /// Opening the network: what is being done now.
    Opening(String),
}

/// A form.
#[derive(Debug, Clone)]
pub struct Form {
    /// What it opens.
    pub kind: FormKind,
    /// The host that it was opened for; empty = any.
    pub asked_for: String,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The field with the cursor.
    pub at: usize,
    /// The password is shown.
    pub revealed: bool,
    /// The password is the one that was offered: what is typed takes its place.
    pub is_offered: bool,
    /// How hard the password of a new network is to guess; nothing where none is typed, or none is chosen.
    pub strength: Option<Strength>,
    /// What it is doing.
    pub progress: Progress,
    /// An error that belongs to no field.
    pub error: Option<String>,
    /// A password is kept from before: an empty field is fine.
    pub has_kept_password: bool,
    /// What was found at the host after a join that failed.
    pub findings: Vec<Finding>,
}

impl Form {
    /// The field with the cursor.
    #[must_use]
    pub fn field(&self) -> Option<&Field> {
        self.fields.get(self.at)
    }

    /// The field with the cursor.
    pub fn field_mut(&mut self) -> Option<&mut Field> {
        self.fields.get_mut(self.at)
    }

    fn text(&self, name: FieldName) -> &str {
        self.fields.iter().find(|field| field.name == name).map_or("", |field| field.value.text().trim())
    }

    fn set_error(&mut self, name: FieldName, message: String) {
        match self.fields.iter().position(|field| field.name == name) {
            Some(at) => {
                self.at = at;
                if let Some(field) = self.fields.get_mut(at) {
                    field.error = Some(message);
                }
            }
            None => self.error = Some(message),
        }
    }

    /// True on the last field; what is after it may stay as it is: switches, and a password that is not needed.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let has_pass = self.has_pass();
        let may_stay = |field: &Field| field.is_on.is_some() || has_pass && field.name == FieldName::Password;
        self.fields.iter().skip(self.at + 1).all(may_stay)
    }

    /// What is typed as the host is an invite by which no password is needed.
    #[must_use]
    pub fn has_pass(&self) -> bool {
        self.target().is_some_and(|target| target.has_pass())
    }

    /// The host that is typed, or the invite; nothing where it is none.
    fn target(&self) -> Option<JoinTarget> {
        self.text(FieldName::Target).parse().ok()
    }

    /// Somebody types into the field with the cursor: a password that was offered goes, and what is typed is not shown.
    pub fn begin_typing(&mut self) {
        let is_password = self.field().is_some_and(|field| field.name == FieldName::Password);
        if is_password && std::mem::take(&mut self.is_offered) {
            self.revealed = false;
            if let Some(field) = self.field_mut() {
                field.value = Composer::for_password();
            }
        }
    }

    /// Finds out how hard the password is to guess.
    pub fn rate(&mut self) {
        let typed = self.text(FieldName::Password);
        let known = [self.text(FieldName::Network), self.text(FieldName::Alias)];
        self.strength =
            (self.kind == FormKind::Host && !typed.is_empty()).then(|| Strength::of(typed, &known));
    }

    /// Turns the switch with the cursor on or off. False when it is no switch.
    pub fn toggle(&mut self) -> bool {
        let Some(Field { is_on: Some(is_on), .. }) = self.fields.get_mut(self.at) else { return false };
        *is_on = !*is_on;
        true
    }

    /// Classic peers are let in, or the host is a classic one.
    #[must_use]
    pub fn is_classic(&self) -> bool {
        self.is_on(FieldName::Classic)
    }

    fn is_on(&self, name: FieldName) -> bool {
        self.fields.iter().any(|field| field.name == name && field.is_on == Some(true))
    }

    /// What is to be opened, or nothing with the errors set beside the fields.
    pub fn submit(&mut self) -> Option<Open> {
        self.error = None;
        self.findings.clear();
        for field in &mut self.fields {
            field.error = None;
        }
        let mut wrong = Vec::new();
        let alias = Alias::new(self.text(FieldName::Alias));
        if let Err(error) = &alias {
            wrong.push((FieldName::Alias, error.to_string()));
        }
        let password = self
            .fields
            .iter()
            .find(|field| field.name == FieldName::Password)
            .map(|field| Password::new(field.value.text().to_owned()))
            .filter(|password| !password.is_empty());
        if password.as_ref().is_some_and(|password| password.as_bytes().len() > limits::PASSWORD_BYTES) {
            wrong.push((
                FieldName::Password,
                format!("at most {} bytes are possible", limits::PASSWORD_BYTES),
            ));
        }
        let open = match self.kind {
            FormKind::Host => {
                let listen: Result<SocketAddr, _> = self.text(FieldName::Listen).parse();
                if listen.is_err() {
                    let message = "an address and port, such as 0.0.0.0:4702".to_owned();
                    wrong.push((FieldName::Listen, message));
                }
                let name = self.text(FieldName::Network).to_owned();
                if name.chars().count() > limits::NETWORK_NAME_CHARACTERS {
                    let message = format!("at most {} characters", limits::NETWORK_NAME_CHARACTERS);
                    wrong.push((FieldName::Network, message));
                }
                if password.is_none() && !self.has_kept_password {
                    let message = "choose one and tell it to those who may join".to_owned();
                    wrong.push((FieldName::Password, message));
                }
                alias.ok().zip(listen.ok()).map(|(alias, listen)| Open::Host {
                    listen,
                    alias,
                    network: Some(name).filter(|name| !name.is_empty()),
                    password,
                    classic: self.is_classic(),
                    announce: self.is_on(FieldName::Announce),
                    map_port: self.is_on(FieldName::MapPort),
                })
            }
            FormKind::Join => {
                let target = self.text(FieldName::Target).parse::<JoinTarget>();
                match &target {
                    Err(error) => wrong.push((FieldName::Target, error.to_string())),
                    Ok(JoinTarget::Host(host)) if host.is_empty() => {
                        let message = "the host's name or address, as the host tells it".to_owned();
                        wrong.push((FieldName::Target, message));
                    }
                    Ok(JoinTarget::Host(host)) if host.contains(char::is_whitespace) => {
                        wrong.push((FieldName::Target, "a name or address has no spaces".to_owned()));
                    }
                    Ok(JoinTarget::Invite(_)) if self.is_classic() => {
                        let message = "a classic host makes no invites; join it by its address".to_owned();
                        wrong.push((FieldName::Target, message));
                    }
                    Ok(_) => {}
                }
                if password.is_none() && self.is_classic() {
                    let message = "a classic host knows nobody, and always asks for it".to_owned();
                    wrong.push((FieldName::Password, message));
                }
                let wire = if self.is_classic() { Wire::Classic } else { Wire::Native };
                alias.ok().zip(target.ok()).map(|(alias, target)| Open::Join {
                    target,
                    alias,
                    password,
                    wire,
                })
            }
        };
        // The cursor ends up in the first field that is wrong.
        let is_right = wrong.is_empty();
        for (name, message) in wrong.into_iter().rev() {
            self.set_error(name, message);
        }
        open.filter(|_| is_right)
    }

    /// The host that is to be looked at after a join that failed for this reason: where it is not the host's own word.
    #[must_use]
    pub fn to_diagnose(&self, closed: &Closed) -> Option<String> {
        let is_unclear = matches!(
            closed.reason,
            CloseReason::Unreachable
                | CloseReason::NotPyile
                | CloseReason::IncompatibleVersion
                | CloseReason::TimedOut
                | CloseReason::Busy
        );
        let is_native = self.kind == FormKind::Join && !self.is_classic();
        (is_unclear && is_native).then(|| self.target().map(|target| target.host())).flatten()
    }

    /// Something was found at the host of a join that failed.
    pub fn found(&mut self, target: &str, finding: Finding) {
        if self.target().is_some_and(|typed| typed.host() == target) && self.progress == Progress::Editing {
            self.findings.push(finding);
            self.findings.truncate(limits::FINDINGS);
        }
    }

    /// A try that failed: the reason beside the field that caused it, every field kept.
    pub fn failed(&mut self, closed: &Closed) {
        self.progress = Progress::Editing;
        let name = match (closed.reason, self.kind) {
            (CloseReason::WrongPassword, _) => Some(FieldName::Password),
            (CloseReason::AliasTaken | CloseReason::AliasNotAllowed, _) => Some(FieldName::Alias),
            (CloseReason::CannotListen, FormKind::Host) => Some(FieldName::Listen),
            (
                CloseReason::Unreachable
                | CloseReason::NotPyile
                | CloseReason::IncompatibleVersion
                | CloseReason::InviteRefused,
                FormKind::Join,
            ) => Some(FieldName::Target),
            _ => None,
        };
        match name {
            Some(name) => self.set_error(name, closed.to_string()),
            None => self.error = Some(closed.to_string()),
        }
    }
}

/// A line of the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Open a network.
    Host,
    /// Join one.
    Join,
    /// See it alive.
    Demo,
    /// Join this one again.
    Recent(Box<KnownHost>),
    /// Join this one, which is around.
    Nearby(PeerId),
}

/// The launch screen.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The selected line.
    pub at: usize,
    /// The form that is open.
    pub form: Option<Form>,
    /// The form that was left, with what was typed.
    pub left: Option<Form>,
    /// Networks joined before, latest first.
    pub recents: Vec<KnownHost>,
    /// Networks around, the newest first.
    pub nearby: Vec<NearbyNetwork>,
    /// Why the last session ended, or why a choice failed.
    pub message: Option<String>,
    /// A demo is being opened.
    pub opening: bool,
}

impl Launch {
    /// Every line of the menu: the network that was joined last is the first, then what is around and not known.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let known = self.recents.iter().map(|known| Choice::Recent(Box::new(known.clone())));
        let around = self.strangers().map(|network| Choice::Nearby(network.peer_id));
        known.chain(around).chain([Choice::Host, Choice::Join, Choice::Demo]).collect()
    }

    /// Networks around whose hosts are not known: those that are have a line already.
    pub fn strangers(&self) -> impl Iterator<Item = &NearbyNetwork> {
        let is_known =
            |network: &&NearbyNetwork| self.recents.iter().any(|known| known.peer_id == network.peer_id);
        self.nearby.iter().filter(move |network| !is_known(network))
    }

    /// The network around whose host has this key.
    #[must_use]
    pub fn around(&self, key: &PeerId) -> Option<&NearbyNetwork> {
        self.nearby.iter().find(|network| network.peer_id == *key)
    }

    /// A network is around, or is not any more. What is selected stays so.
    pub fn sighted(&mut self, sighting: Sighting) {
        let chosen = self.choice();
        let is_full = self.nearby.len() >= limits::NEARBY;
        match sighting {
            Sighting::Here(network) => {
                match self.nearby.iter_mut().find(|other| other.peer_id == network.peer_id) {
                    Some(known) => {
                        // What is known of it still holds.
                        let is_tried = network.answer == Answer::Awaited && network.addrs == known.addrs;
                        let answer = if is_tried { known.answer } else { network.answer };
                        *known = NearbyNetwork { answer, ..network };
                    }
                    // Those that are listed are not pushed out.
                    None if is_full => {}
                    None => self.nearby.insert(0, network),
                }
            }
            Sighting::Gone(key) => self.nearby.retain(|network| network.peer_id != key),
        }
        let choices = self.choices();
        let find = |wanted: &Choice| choices.iter().position(|choice| choice == wanted);
        // What is gone leaves nothing chosen that somebody else has put there.
        self.at = find(&chosen).or_else(|| find(&Choice::Join)).unwrap_or(0);
    }

    /// The selected line.
    #[must_use]
    pub fn choice(&self) -> Choice {
        self.choices().get(self.at).cloned().unwrap_or(Choice::Host)
    }

    /// One line up or down, around the ends.
    pub fn step(&mut self, down: bool) {
        let count = self.choices().len();
        self.at = if down { (self.at + 1) % count } else { (self.at + count - 1) % count };
    }
}
