package board

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Period is how long a board of a Series lasts.
type Period int

// The periods. Days and weeks are in UTC; a week begins on Monday.
const (
	Forever Period = iota
	Daily
	Weekly
)

// End returns the end of the period that contains t, that is, the first moment of the
// next one. It returns the zero time for Forever.
func (p Period) End(t time.Time) time.Time {
	y, m, d := t.UTC().Date()
	switch p {
	case Daily:
		return time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
	case Weekly:
		sinceMonday := (int(t.UTC().Weekday()) + 6) % 7
		return time.Date(y, m, d-sinceMonday+7, 0, 0, 0, 0, time.UTC)
	}
	return time.Time{}
}

// Series has a board for each period. Nothing has to be done when a period ends: a score
// goes to the board of the time at which it was made, so that a late score is neither
// lost nor on the next board. All methods may be called concurrently.
type Series struct {
	period Period
	lowest bool
	keep   int
	kept   *keptSeries // nil if nothing is stored

	mu     sync.Mutex
	boards []Dated // newest first
}

// Dated is a board with the end of its period.
type Dated struct {
	End time.Time
	*Board
}

// ErrOver is returned for a time whose board is no longer kept.
var ErrOver = errors.New("the period is over, and its board is not kept")

// ErrAhead is returned for a time whose period has not begun.
var ErrAhead = errors.New("the period has not begun")

// NewSeries makes a series of boards as New makes them. In addition to the current board,
// it keeps those of the last keep periods.
func NewSeries(period Period, lowestFirst bool, keep int) *Series {
	return &Series{period: period, lowest: lowestFirst, keep: max(keep, 0)}
}

// Period returns how long a board of the series lasts.
func (s *Series) Period() Period { return s.period }

// Now returns the board of the current period.
func (s *Series) Now() *Board {
	now := time.Now()
	b, err := s.at(now, now)
	if err != nil {
		panic(err) // a clock cannot be before or after itself
	}
	return b
}

// At returns the board for what happened at t. The error wraps ErrOver or ErrAhead, and
// names the time.
func (s *Series) At(t time.Time) (*Board, error) { return s.at(t, time.Now()) }

func (s *Series) at(t, now time.Time) (*Board, error) {
	end := s.period.End(t)
	if end.After(s.period.End(now)) {
		return nil, fmt.Errorf("a board for %s: %w", t.UTC().Format(time.RFC3339), ErrAhead)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.forget(now)
	if end.Before(oldest) {
		return nil, fmt.Errorf("a board for %s: %w", t.UTC().Format(time.RFC3339), ErrOver)
	}
	i, is := slices.BinarySearchFunc(s.boards, end, func(d Dated, end time.Time) int { return end.Compare(d.End) })
	if !is {
		s.boards = slices.Insert(s.boards, i, Dated{end, New(s.lowest)})
		if s.kept != nil {
			s.kept.begin(s.boards[i])
		}
	}
	return s.boards[i].Board, nil
}

// Kept returns the boards that have been used and are still kept, newest first.
func (s *Series) Kept() []Dated {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now())
	return slices.Clone(s.boards)
}

// forget drops the boards that are too old, and returns the end of the oldest period that
// is kept.
func (s *Series) forget(now time.Time) (oldest time.Time) {
	oldest = s.period.End(now)
	switch s.period {
	case Daily:
		oldest = oldest.AddDate(0, 0, -s.keep)
	case Weekly:
		oldest = oldest.AddDate(0, 0, -7*s.keep)
	}
	for len(s.boards) > 0 && s.boards[len(s.boards)-1].End.Before(oldest) {
		if s.kept != nil {
			s.kept.drop(s.boards[len(s.boards)-1])
		}
		s.boards = s.boards[:len(s.boards)-1]
	}
	return oldest
}
