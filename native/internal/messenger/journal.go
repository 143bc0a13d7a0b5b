package main

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"
)

// journal records what has arrived so far, and lets callers wait for more.
type journal struct {
	mu      sync.Mutex
	entries []any
	news    chan struct{} // closed by the next entry
}

func newJournal() *journal { return &journal{news: make(chan struct{})} }

func (j *journal) add(entry any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
	close(j.news)
	j.news = make(chan struct{})
}

// until waits until enough returns true, and returns all entries.
func (j *journal) until(enough func([]any) bool) ([]any, error) {
	timeout := time.After(limit)
	for {
		j.mu.Lock()
		all, news := slices.Clone(j.entries), j.news
		j.mu.Unlock()
		if enough(all) {
			return append([]any{}, all...), nil
		}
		select {
		case <-news:
		case <-timeout:
			return nil, fmt.Errorf("it did not come; there is %v", all)
		}
	}
}

func contains(all []any, text string) bool { return slices.Contains(all, any(text)) }

func upper(b []byte) []byte { return bytes.ToUpper(b) }
