package replay

import (
	"bytes"
	"errors"
	"fmt"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tombolo-net/tombolo/core/message"
)

// signPrefix precedes what GossipSub signs.
// https://github.com/libp2p/specs/blob/master/pubsub/README.md#message-signing
const signPrefix = "libp2p-pubsub:"

// verify opens a signed broadcast of a topic. It checks that the signature is that of the
// publisher, and that the content is an event with an ID. The message refers to signed.
func verify(signed []byte, topic, typ string) (*message.Message, error) {
	var m pb.Message
	if err := m.Unmarshal(signed); err != nil {
		return nil, fmt.Errorf("no GossipSub message: %w", err)
	}
	if again, err := m.Marshal(); err != nil || !bytes.Equal(again, signed) {
		return nil, errors.New("not marshalled as GossipSub does")
	}
	if m.Topic == nil || *m.Topic != topic {
		return nil, fmt.Errorf("of the topic %q, not %q", m.GetTopic(), topic)
	}
	from, err := checkSignature(&m)
	if err != nil {
		return nil, err
	}
	msg := &message.Message{From: from, Broadcast: true, Replayed: true}
	if err := msg.Decode(m.Data, nil); err != nil {
		return nil, err
	}
	switch {
	case msg.Kind != message.Event:
		return nil, fmt.Errorf("it is of kind %s; only events are replayed", msg.Kind)
	case msg.ID.Epoch == 0 || msg.ID.Seq == 0:
		return nil, fmt.Errorf("%s is no ID of a broadcast", msg.ID)
	case msg.Type != "" && msg.Type != typ:
		return nil, fmt.Errorf("its envelope says %q", msg.Type)
	}
	msg.Type = typ
	return msg, nil
}

// checkSignature does what GossipSub does on receipt with strict signatures.
func checkSignature(m *pb.Message) (peer.ID, error) {
	from, err := peer.IDFromBytes(m.From)
	if err != nil {
		return "", fmt.Errorf("from nobody: %w", err)
	}
	var key crypto.PubKey
	if m.Key == nil {
		key, err = from.ExtractPublicKey()
	} else {
		key, err = crypto.UnmarshalPublicKey(m.Key)
	}
	if err == nil && !from.MatchesPublicKey(key) { // also for an ID that contains a key, so that each key has one ID
		err = errors.New("it is not the publisher's")
	}
	if err != nil {
		return "", fmt.Errorf("the key of %s: %w", from, err)
	}
	unsigned := *m
	unsigned.Signature, unsigned.Key = nil, nil
	body, err := unsigned.Marshal()
	if err != nil {
		return "", fmt.Errorf("marshal it unsigned: %w", err)
	}
	if valid, err := key.Verify(append([]byte(signPrefix), body...), m.Signature); err != nil || !valid {
		return "", fmt.Errorf("the signature is not %s's", from)
	}
	return from, nil
}
