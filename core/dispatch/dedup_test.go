package dispatch_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/message"
)

func TestCopiesAreToldByForAsLongAsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(t, dispatch.Options{})
		require.NoError(t, d.Deduplicate("chat", dispatch.Window{Age: time.Minute}))
		s := subscribe(t, d, "chat")
		offer(t, d, "chat", "a", 1, 1)
		time.Sleep(59 * time.Second)
		offer(t, d, "chat", "a", 1, 1)
		assert.Len(t, got(s), 1)
		time.Sleep(time.Second)
		offer(t, d, "chat", "a", 1, 1)
		assert.Len(t, got(s), 1, "the age counts from when it was taken")
		offer(t, d, "chat", "a", 2, 2)
		time.Sleep(time.Hour)
		offer(t, d, "chat", "a", 3, 3)
		assert.Equal(t, 1, s.Remembered(), "the next message removes those that are too old")
	})
}

func TestCopiesAreToldByForAsManyAsTheWindow(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	require.NoError(t, d.Deduplicate("chat", dispatch.Window{Count: 3}))
	s := subscribe(t, d, "chat")
	offer(t, d, "chat", "a", 1, 4)
	assert.Equal(t, 3, s.Remembered())
	offer(t, d, "chat", "a", 2, 4)
	assert.Equal(t, []string{"a:1", "a:2", "a:3", "a:4"}, got(s))
	offer(t, d, "chat", "a", 1, 1)
	assert.Equal(t, []string{"a:1"}, got(s))

	require.NoError(t, d.Deduplicate("chat", dispatch.Window{Count: 1}), "bounds may change")
	offer(t, d, "chat", "a", 5, 5)
	assert.Equal(t, 1, s.Remembered())
	require.NoError(t, d.Deduplicate("chat", dispatch.Off))
	assert.Zero(t, s.Remembered())
	require.NoError(t, d.Deduplicate("chat", dispatch.Off), "again")
}

func TestWindowOfTheTypeItselfCountsElseTheLongestPrefix(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	for pattern, count := range map[string]int{"a/*": 1, "a/b/*": 2, "a/b/c": 3} {
		require.NoError(t, d.Deduplicate(pattern, dispatch.Window{Count: count}))
	}
	for typ, count := range map[string]int{"a/x": 1, "a/b/x": 2, "a/b/c": 3, "a/b/c/d": 2, "b": 0} {
		s := subscribe(t, d, typ)
		offer(t, d, typ, "p", 1, 10)
		assert.Equal(t, count, s.Remembered(), typ)
	}
}

func TestWindowsThatMakeNoSense(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	assert.ErrorContains(t, d.Deduplicate("chat", dispatch.Window{Count: -2}), "negative")
	assert.ErrorContains(t, d.Deduplicate("chat", dispatch.Window{Age: -1}), "negative")
	assert.ErrorIs(t, d.Deduplicate("tombolo/x", dispatch.Window{}), message.ErrType)
}

func TestSupersededMessageIsOldAndStaysRemembered(t *testing.T) {
	d := newDispatcher(t, dispatch.Options{})
	require.NoError(t, d.Deduplicate("at", dispatch.Window{}))
	s := subscribe(t, d, "at", dispatch.LatestPerKey(func(m *message.Message) string { return string(m.From) }))
	offer(t, d, "at", "a", 1, 2)
	offer(t, d, "at", "a", 1, 1)
	assert.Equal(t, []string{"a+1:2"}, got(s))
	assert.Equal(t, uint64(1), s.Stats().Duplicates)
}
