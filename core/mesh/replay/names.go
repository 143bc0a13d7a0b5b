package replay

import (
	"context"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// Names lists the names of all histories of which a store has anything, in no particular
// order.
func Names(ctx context.Context, ds datastore.Batching) ([]string, error) {
	results, err := ds.Query(ctx, query.Query{Prefix: "/replay", KeysOnly: true})
	if err != nil {
		return nil, fmt.Errorf("list histories: %w", err)
	}
	defer results.Close()
	var names []string
	known := make(map[string]struct{})
	for result := range results.Next() {
		if result.Error != nil {
			return nil, fmt.Errorf("list histories: %w", result.Error)
		}
		topic, _, _ := strings.Cut(strings.TrimPrefix(result.Key, "/replay/"), "/")
		if _, twice := known[topic]; twice {
			continue
		}
		known[topic] = struct{}{}
		if name, err := base32.HexEncoding.WithPadding(base32.NoPadding).DecodeString(topic); err == nil {
			names = append(names, string(name))
		}
	}
	return names, nil
}

// Erase deletes everything that a store has of the history with that name. The history
// must not be open.
func Erase(ctx context.Context, ds datastore.Batching, name string) error {
	if err := erase(ctx, ds, newStore(ds, name, 0).prefix); err != nil {
		return fmt.Errorf("erase the history of %q: %w", name, err)
	}
	return nil
}

func erase(ctx context.Context, ds datastore.Batching, prefix datastore.Key) error {
	results, err := ds.Query(ctx, query.Query{Prefix: prefix.String(), KeysOnly: true})
	if err != nil {
		return err
	}
	found, err := results.Rest()
	if err != nil {
		return err
	}
	batch, err := ds.Batch(ctx)
	if err != nil {
		return err
	}
	for _, e := range found {
		if err := batch.Delete(ctx, datastore.RawKey(e.Key)); err != nil {
			return err
		}
	}
	return batch.Commit(ctx)
}
