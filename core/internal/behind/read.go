package behind

import (
	"context"
	"fmt"
	"strings"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// Each calls take for each record under q.Prefix in the store, with the rest of its key.
// An error of take ends it, and the error that Each returns names the record.
func Each(ctx context.Context, store datastore.Datastore, q query.Query, take func(name string, value []byte) error) error {
	results, err := store.Query(ctx, q)
	if err != nil {
		return err
	}
	defer results.Close()
	for {
		result, ok := results.NextSync()
		if !ok {
			return nil
		}
		if result.Error != nil {
			return result.Error
		}
		if err := take(strings.TrimPrefix(result.Key, q.Prefix+"/"), result.Value); err != nil {
			return fmt.Errorf("the record %s is damaged: %w", result.Key, err)
		}
	}
}
