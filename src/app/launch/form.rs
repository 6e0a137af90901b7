//! The form that opens a network, or joins one.

use std::net::SocketAddr;

use crate::{
    api::Finding,
    app::{Defaults, Open, composer::Composer, strength::Strength},
    model::{Alias, CloseReason, Closed, JoinTarget, Password, Wire, limits},
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

impl Field {
    fn of(name: FieldName, text: &str, placeholder: &'static str) -> Self {
        let value = match name {
            FieldName::Password => Composer::for_password(),
            _ => Composer::with(text),
        };
        Self { name, value, error: None, placeholder, is_on: None }
    }

    fn alias(alias: &Alias) -> Self {
        Self::of(FieldName::Alias, alias.as_str(), "how others see you")
    }

    fn switch(name: FieldName, is_on: bool, words: &'static str) -> Self {
        Self { is_on: Some(is_on), ..Self::of(name, "", words) }
    }

    /// Nothing is typed in it, and something is to be.
    fn wants_text(&self) -> bool {
        self.is_on.is_none() && self.value.is_empty()
    }
}

/// What a form is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Being filled in.
    Editing,
    /// Opening the network: what is being done now.
    Opening(String),
}

/// What is wrong in which field.
type Wrong = (FieldName, String);

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
    /// A form for a new network, with what is known filled in and the cursor in the first field that is not.
    #[must_use]
    pub fn to_host(defaults: &Defaults) -> Self {
        // Where a password is kept, none is needed.
        let offered = defaults.offered.as_ref().filter(|_| !defaults.has_kept_password);
        let placeholder = if defaults.has_kept_password {
            "empty keeps the one of before"
        } else {
            "tell it to those who may join"
        };
        let mut password = Field::of(FieldName::Password, "", placeholder);
        if let Some(offered) = offered {
            password.value.insert(offered.reveal());
        }
        let is_offered = offered.is_some();
        let fields = vec![
            Field::alias(&defaults.alias),
            Field::of(FieldName::Network, &defaults.network, "optional: a name for it"),
            Field::of(FieldName::Listen, &defaults.listen.to_string(), "address:port"),
            password,
            Field::switch(FieldName::Classic, defaults.classic, "let Python peers in too, unencrypted"),
            Field::switch(FieldName::Announce, defaults.announce, "show it to others on this network"),
            Field::switch(FieldName::MapPort, defaults.map_port, "ask it to let others in from the internet"),
        ];
        let is_first = |field: &Field| match field.name {
            FieldName::Network => false,
            FieldName::Password if is_offered => true,
            _ => field.wants_text(),
        };
        Self {
            at: fields.iter().position(is_first).unwrap_or(0),
            revealed: is_offered,
            is_offered,
            // Words by lot.
            strength: is_offered.then_some(Strength::Strong),
            has_kept_password: defaults.has_kept_password,
            ..Self::of(FormKind::Host, String::new(), fields)
        }
    }

    /// A form to join the host at `target`, or by the invite that stands there.
    #[must_use]
    pub fn to_join(target: &str, alias: &Alias, wire: Wire) -> Self {
        let is_classic = wire == Wire::Classic;
        let fields = vec![
            Field::of(FieldName::Target, target, "the host's address, or an invite"),
            Field::alias(alias),
            Field::of(FieldName::Password, "", "empty if the host knows you"),
            Field::switch(FieldName::Classic, is_classic, "the host is the Python program: all in clear"),
        ];
        let has_pass = target.parse::<JoinTarget>().is_ok_and(|target| target.has_pass());
        let is_first = |field: &Field| match field.name {
            // Whoever has an invite only says who it is.
            FieldName::Alias if has_pass => true,
            FieldName::Password if has_pass => false,
            _ => field.wants_text(),
        };
        let at = fields.iter().position(is_first).unwrap_or(0);
        Self { at, ..Self::of(FormKind::Join, target.to_owned(), fields) }
    }

    fn of(kind: FormKind, asked_for: String, fields: Vec<Field>) -> Self {
        Self {
            kind,
            asked_for,
            fields,
            at: 0,
            revealed: false,
            is_offered: false,
            strength: None,
            progress: Progress::Editing,
            error: None,
            has_kept_password: false,
            findings: Vec::new(),
        }
    }

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
        let open = match self.kind {
            FormKind::Host => self.host(&mut wrong),
            FormKind::Join => self.join(&mut wrong),
        };
        // The cursor ends up in the first field that is wrong.
        let is_right = wrong.is_empty();
        for (name, message) in wrong.into_iter().rev() {
            self.set_error(name, message);
        }
        open.filter(|_| is_right)
    }

    /// The network that is to be opened.
    fn host(&self, wrong: &mut Vec<Wrong>) -> Option<Open> {
        let alias = self.alias(wrong);
        let password = self.password(wrong);
        let listen: Option<SocketAddr> = self.text(FieldName::Listen).parse().ok();
        if listen.is_none() {
            wrong.push((FieldName::Listen, "an address and port, such as 0.0.0.0:4702".to_owned()));
        }
        let name = self.text(FieldName::Network).to_owned();
        if name.chars().count() > limits::NETWORK_NAME_CHARACTERS {
            let message = format!("at most {} characters", limits::NETWORK_NAME_CHARACTERS);
            wrong.push((FieldName::Network, message));
        }
        if password.is_none() && !self.has_kept_password {
            wrong.push((FieldName::Password, "choose one and tell it to those who may join".to_owned()));
        }
        Some(Open::Host {
            listen: listen?,
            alias: alias?,
            network: Some(name).filter(|name| !name.is_empty()),
            password,
            classic: self.is_classic(),
            announce: self.is_on(FieldName::Announce),
            map_port: self.is_on(FieldName::MapPort),
        })
    }

    /// The network that is to be joined.
    fn join(&self, wrong: &mut Vec<Wrong>) -> Option<Open> {
        let alias = self.alias(wrong);
        let password = self.password(wrong);
        let target = self.text(FieldName::Target).parse::<JoinTarget>();
        let is_wrong = match &target {
            Err(error) => Some(error.to_string()),
            Ok(JoinTarget::Host(host)) if host.is_empty() => {
                Some("the host's name or address, as the host tells it".to_owned())
            }
            Ok(JoinTarget::Host(host)) if host.contains(char::is_whitespace) => {
                Some("a name or address has no spaces".to_owned())
            }
            Ok(JoinTarget::Invite(_)) if self.is_classic() => {
                Some("a classic host makes no invites; join it by its address".to_owned())
            }
            Ok(_) => None,
        };
        wrong.extend(is_wrong.map(|message| (FieldName::Target, message)));
        if password.is_none() && self.is_classic() {
            let message = "a classic host knows nobody, and always asks for it".to_owned();
            wrong.push((FieldName::Password, message));
        }
        let wire = if self.is_classic() { Wire::Classic } else { Wire::Native };
        Some(Open::Join { target: target.ok()?, alias: alias?, password, wire })
    }

    fn alias(&self, wrong: &mut Vec<Wrong>) -> Option<Alias> {
        Alias::new(self.text(FieldName::Alias))
            .map_err(|error| wrong.push((FieldName::Alias, error.to_string())))
            .ok()
    }

    /// The password, where one is typed. Every letter of it counts, spaces as well.
    fn password(&self, wrong: &mut Vec<Wrong>) -> Option<Password> {
        let field = self.fields.iter().find(|field| field.name == FieldName::Password)?;
        let password = Password::new(field.value.text().to_owned());
        if password.as_bytes().len() > limits::PASSWORD_BYTES {
            let message = format!("at most {} bytes are possible", limits::PASSWORD_BYTES);
            wrong.push((FieldName::Password, message));
        }
        Some(password).filter(|password| !password.is_empty())
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
