package link_test

import "testing"

// The behaviours of Nebulas' net service that links keep, by their numbers.
func TestBehavioursOfNebulas(t *testing.T) {
	for name, tests := range map[string][]func(*testing.T){
		"6: High, Normal and Low queues, bounded":             {TestQueueIsBoundedInMessages, TestQueueIsBoundedInBytes},
		"6: strict priority":                                  {TestHighGoesBeforeNormalBeforeLow},
		"6: High blocks":                                      {TestHighWaitsForRoom, TestHighWaitsNoLongerThanItsContext},
		"6: the others drop, and here their sender is told":   {TestQueueIsBoundedInMessages},
		"7: to one peer":                                      {TestMessageArrivesAndIsOfItsSender},
		"7: to several, and who was reached is returned":      {TestSendAllReportsWhoWasReachedAndWhyOthersWereNot, TestPostAllTellsOfEachPeerOnce},
		"7: filters: about sqrt(n) peers, one random peer":    {TestFiltersChooseAsManyAsTheySayAndNoneTwice},
		"8: reserved names never reach subscribers":           {testReserved},
		"9: a length cap":                                     {TestFrameThatClaimsTooMuchIsRefusedBeforeMemoryIsTakenForIt},
		"9: a bad frame ends the stream, and in the end more": {TestLieResetsTheStreamAndTheNodeGoesOn, TestPeerThatLiesAgainAndAgainIsRefusedForAWhile},
		"9: a peer that does not go on is not waited for":     {TestFrameThatDoesNotGoOnResetsTheStream},
	} {
		t.Run(name, func(t *testing.T) { runAll(t, tests) })
	}
}

// The defects of Nebulas' net service that links do not have.
func TestDefectsOfNebulas(t *testing.T) {
	for name, tests := range map[string][]func(*testing.T){
		"put after stop blocks for ever":                       {TestNothingBlocksAfterClose},
		"stop never waits":                                     {TestCloseIsIdempotentAlsoAtOnceAndEachWaitsForAll, TestCloseFailsWhatWaitsWithErrClosed},
		"drops are not counted":                                {TestEveryMessageIsAccountedFor},
		"the sender of what was dropped is told nothing":       {TestQueueIsBoundedInMessages, TestDeadLinkFailsEachQueuedMessageWithAnErrorPerSender},
		"much is buffered before any handshake":                {TestNothingIsBufferedBeforeTheHandshake},
		"a 5-byte header may claim 4 GiB":                      {TestFrameThatClaimsTooMuchIsRefusedBeforeMemoryIsTakenForIt},
		"keys of maps are chosen by the remote, without bound": {TestStreamsOfOnePeerAreBounded, TestRequestsOfOnePeerAndOfAllAreBounded},
		"a replaced stream leaks its goroutines":               {TestReplacedStreamLeaksNothing},
		"and later deletes the live peer's routes":             {TestStreamThatEndsLateSparesItsSuccessor},
	} {
		t.Run(name, func(t *testing.T) { runAll(t, tests) })
	}
}

func runAll(t *testing.T, tests []func(*testing.T)) {
	for _, test := range tests {
		test(t)
	}
}

func testReserved(t *testing.T) {
	TestWhatCannotBeSentIsRefusedWithItsReason(t)
	TestLieResetsTheStreamAndTheNodeGoesOn(t)
}
