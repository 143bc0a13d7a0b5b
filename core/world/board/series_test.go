package board

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPeriodsEndAtMidnightOfUTC(t *testing.T) {
	at := func(s string) time.Time {
		when, err := time.Parse(time.RFC3339, s)
		require.NoError(t, err)
		return when
	}
	for _, c := range []struct{ t, day, week string }{
		{"2026-11-27T12:00:00Z", "2026-11-28T00:00:00Z", "2026-11-30T00:00:00Z"},      // a Friday
		{"2026-11-28T00:30:00+01:00", "2026-11-28T00:00:00Z", "2026-11-30T00:00:00Z"}, // still Friday in UTC
		{"2026-11-29T23:59:59Z", "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z"},
		{"2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z", "2026-12-07T00:00:00Z"},
		{"2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z", "2027-01-04T00:00:00Z"},
		{"2028-02-28T01:00:00Z", "2028-02-29T00:00:00Z", "2028-03-06T00:00:00Z"},
	} {
		require.Equal(t, at(c.day), Daily.End(at(c.t)), c.t)
		require.Equal(t, at(c.week), Weekly.End(at(c.t)), c.t)
		require.True(t, Forever.End(at(c.t)).IsZero())
	}
}

func TestALateScoreIsOfTheDayWhenItWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSeries(Daily, false, 1)
		time.Sleep(24*time.Hour - time.Second - time.Since(Daily.End(time.Now()).AddDate(0, 0, -1)))
		made := time.Now() // a second before midnight
		s.Now().Set(1, 10)
		time.Sleep(2 * time.Second)
		s.Now().Set(1, 3)
		late, err := s.At(made)
		require.NoError(t, err)
		late.Improve(1, 20)
		require.Equal(t, []Row{{1, 1, 3}}, s.Now().Rows(1, 9))
		kept := s.Kept()
		require.Len(t, kept, 2)
		require.Equal(t, []Row{{1, 1, 20}}, kept[1].Rows(1, 9))
		require.Equal(t, made.Add(time.Second).UTC(), kept[1].End)

		_, err = s.At(time.Now().AddDate(0, 0, 1))
		require.ErrorIs(t, err, ErrAhead)
		time.Sleep(24 * time.Hour)
		_, err = s.At(made)
		require.ErrorIs(t, err, ErrOver)
		require.Len(t, s.Kept(), 1, "a day on which nobody played has no board")
		require.Zero(t, s.Now().Len())
	})
}

func TestMonthsOfResetsKeepWhatTheySay(t *testing.T) {
	for _, period := range []Period{Forever, Daily, Weekly} {
		synctest.Test(t, func(t *testing.T) {
			s, total := NewSeries(period, false, 3), 0
			for range 100 {
				time.Sleep(7 * time.Hour)
				total++
				s.Now().Add(1, 1)
				require.LessOrEqual(t, len(s.Kept()), 4)
			}
			row, ok := s.Now().Of(1)
			require.True(t, ok)
			if period == Forever {
				require.EqualValues(t, total, row.Score)
				require.Len(t, s.Kept(), 1)
			} else {
				require.Less(t, row.Score, int64(total))
				require.Len(t, s.Kept(), 4)
			}
		})
	}
}
