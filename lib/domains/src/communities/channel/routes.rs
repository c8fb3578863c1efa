//! The HTTP API under `/v1/channels/{channel}`, and what is unread of a community.

use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::AccountId;
use nepto_proto::ErrorCode;
use nepto_proto::api::channels::{
    ChannelHistory, ChannelMessage, MessageEdits, PinnedMessages, PostedMessage, ReadState, Unread,
};
use nepto_proto::api::endpoints::channels::{
    AddReaction, DeleteChannelMessage, EditChannelMessage, GetChannelHistory, GetChannelMessage, GetUnread,
    HistoryPage, ListMessageEdits, ListPins, MarkChannelRead, MessagePath, PinMessage, PostChannelMessage,
    ReactionPath, RemoveReaction, UnpinMessage,
};

use super::ops::{Channels, HistoryWindow, Of};
use crate::request::page_of;

pub fn routes(channels: Channels) -> Routes {
    Routes::new()
        .on(post)
        .on(history)
        .on(message)
        .on(edit)
        .on(delete)
        .on(edits)
        .on(add_reaction)
        .on(remove_reaction)
        .on(pins)
        .on(pin)
        .on(unpin)
        .on(read)
        .on(unread)
        .with_state(channels)
}

fn of(account: AccountId, MessagePath { channel, message }: MessagePath) -> Of {
    Of { account, channel, message }
}

async fn post(channels: Channels, asked: Asked<PostChannelMessage>) -> Result<PostedMessage, Failure> {
    channels.post(asked.who.account, asked.path.channel, asked.body).await
}

async fn history(channels: Channels, asked: Asked<GetChannelHistory>) -> Result<ChannelHistory, Failure> {
    channels.history(asked.who.account, asked.path.channel, window(&asked.query)?).await
}

fn window(HistoryPage { before, after, around, limit }: &HistoryPage) -> Result<HistoryWindow, Failure> {
    let limit = page_of(*limit)?;
    match (before, after, around) {
        (None, None, None) => Ok(HistoryWindow::Newest(limit)),
        (Some(id), None, None) => Ok(HistoryWindow::Before(*id, limit)),
        (None, Some(id), None) => Ok(HistoryWindow::After(*id, limit)),
        (None, None, Some(id)) => Ok(HistoryWindow::Around(*id, limit)),
        _ => Err(Failure::new(ErrorCode::Malformed, "one of `before`, `after` and `around`")),
    }
}

async fn message(channels: Channels, asked: Asked<GetChannelMessage>) -> Result<ChannelMessage, Failure> {
    channels.message(of(asked.who.account, asked.path)).await
}

async fn edit(channels: Channels, asked: Asked<EditChannelMessage>) -> Result<(), Failure> {
    channels.edit(of(asked.who.account, asked.path), asked.body.text).await
}

async fn delete(channels: Channels, asked: Asked<DeleteChannelMessage>) -> Result<(), Failure> {
    channels.delete(of(asked.who.account, asked.path)).await
}

async fn edits(channels: Channels, asked: Asked<ListMessageEdits>) -> Result<MessageEdits, Failure> {
    channels.edits(of(asked.who.account, asked.path)).await
}

async fn add_reaction(channels: Channels, asked: Asked<AddReaction>) -> Result<(), Failure> {
    react(channels, asked.who.account, asked.path, false).await
}

async fn remove_reaction(channels: Channels, asked: Asked<RemoveReaction>) -> Result<(), Failure> {
    react(channels, asked.who.account, asked.path, true).await
}

async fn react(channels: Channels, account: AccountId, path: ReactionPath, removed: bool) -> Result<(), Failure> {
    let ReactionPath { channel, message, reaction } = path;
    channels.react(Of { account, channel, message }, &reaction, removed).await
}

async fn pins(channels: Channels, asked: Asked<ListPins>) -> Result<PinnedMessages, Failure> {
    channels.pins(asked.who.account, asked.path.channel).await
}

async fn pin(channels: Channels, asked: Asked<PinMessage>) -> Result<(), Failure> {
    channels.pin(of(asked.who.account, asked.path), false).await
}

async fn unpin(channels: Channels, asked: Asked<UnpinMessage>) -> Result<(), Failure> {
    channels.pin(of(asked.who.account, asked.path), true).await
}

async fn read(channels: Channels, asked: Asked<MarkChannelRead>) -> Result<ReadState, Failure> {
    channels.read(asked.who.account, asked.path.channel, asked.body.up_to).await
}

async fn unread(channels: Channels, asked: Asked<GetUnread>) -> Result<Unread, Failure> {
    channels.unread(asked.who.account, asked.path.community).await
}
