package control

import (
	"context"
	"iter"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/world/board"
	"github.com/tombolo-net/tombolo/native/tunnels"
)

// A Verb is a call with one answer: Q is its argument, and A its answer. Its value is its
// name in the URL.
type Verb[Q, A any] string

// Call calls the daemon. An error that the daemon returned is an *Error.
func (v Verb[Q, A]) Call(ctx context.Context, c *Client, q Q) (a A, err error) {
	err = c.call(ctx, string(v), q, &a)
	return a, err
}

// A ContinuingVerb is a call with a sequence of answers: Q is its argument, and A one
// answer.
type ContinuingVerb[Q, A any] string

// Follow calls the daemon and yields its answers as they arrive. It ends when the daemon
// ends the call, with an error or without, and when ctx ends.
func (v ContinuingVerb[Q, A]) Follow(ctx context.Context, c *Client, q Q) iter.Seq2[A, error] {
	return lines[A](ctx, c, string(v), q)
}

// The calls of the daemon, except dial, which is Client.Dial: see docs/control.md.
const (
	VerbStatus     Verb[None, Status]     = "status"
	VerbPeers      Verb[None, []Peer]     = "peers"
	VerbConnect    Verb[PeerCall, Peer]   = "connect"
	VerbDisconnect Verb[PeerCall, Closed] = "disconnect"
	VerbPing       Verb[PeerCall, Pong]   = "ping"
	VerbEcho       Verb[EchoCall, Echoed] = "echo"

	VerbListen       Verb[tunnels.ListenSpec, tunnels.Listener] = "listen"
	VerbForward      Verb[tunnels.ForwardSpec, tunnels.Forward] = "forward"
	VerbAccess       Verb[AccessCall, tunnels.Listener]         = "access"
	VerbLs           Verb[None, tunnels.List]                   = "ls"
	VerbClose        Verb[tunnels.Match, Closed]                = "close"
	VerbStreams      Verb[StreamsCall, []bridge.StreamInfo]     = "streams"
	VerbCloseStreams Verb[CloseStreamsCall, Closed]             = "streams/close"
	VerbDialEnd      Verb[DialEndCall, None]                    = "dial/end"
	VerbServices     Verb[PeerCall, []Offer]                    = "services"

	VerbListenForeground  ContinuingVerb[tunnels.ListenSpec, tunnels.Listener] = "listen/foreground"
	VerbForwardForeground ContinuingVerb[tunnels.ForwardSpec, tunnels.Forward] = "forward/foreground"
	VerbWatch             ContinuingVerb[None, bridge.Change]                  = "watch"

	VerbSend      Verb[MessageCall, None]                = "send"
	VerbRequest   Verb[MessageCall, Reply]               = "request"
	VerbBroadcast Verb[MessageCall, None]                = "broadcast"
	VerbSubscribe ContinuingVerb[SubscribeCall, Message] = "subscribe" // the first answer is empty

	VerbPair     Verb[PairCall, Paired]        = "pair"
	VerbPairShow ContinuingVerb[None, Pairing] = "pair/show"

	VerbRoomList     Verb[RoomListCall, []ListedRoom]       = "room/ls"
	VerbRoomInvite   Verb[RoomInviteCall, RoomInvitation]   = "room/invite"
	VerbRoomSave     Verb[RoomSaveCall, RoomState]          = "room/save"
	VerbRoomHandOver Verb[RoomHandOverCall, RoomHandedOver] = "room/handover"
	VerbRoomFind     Verb[RoomFindCall, FoundRoom]          = "room/find"
	VerbRoomBoard    Verb[RoomBoardCall, board.Lines]       = "room/board"

	VerbRoomHost       ContinuingVerb[RoomHostCall, RoomState]           = "room/host"
	VerbRoomWatch      ContinuingVerb[RoomFilter, RoomChange]            = "room/watch"
	VerbRoomOffer      ContinuingVerb[RoomOfferCall, []RoomState]        = "room/offer"
	VerbRoomTop        ContinuingVerb[RoomTopCall, []RoomState]          = "room/top"
	VerbRoomStandby    ContinuingVerb[RoomStandbyCall, RoomStandbyState] = "room/standby"
	VerbRoomJoin       ContinuingVerb[RoomJoinCall, RoomTick]            = "room/join"
	VerbRoomBoardWatch ContinuingVerb[RoomBoardCall, board.Lines]        = "room/board/watch"
)
