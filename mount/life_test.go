package mount

import "testing"

// Where overlays can be had the tests of mounts are tests of them. These are run in FUSE
// mounts as well.
func TestFUSELife(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"commit and open again":   TestCommitAndOpenAgain,
		"nothing is stored":       TestNothingIsStoredUnless,
		"unchanged":               TestUnchangedIsNotStored,
		"emptied":                 TestEmptiedWorkspace,
		"conflict":                TestConflict,
		"rewound":                 TestRewind,
		"rewound, unchanged":      TestRewindThatChangesNothing,
		"changes nothing":         TestWhatChangesNothingStoresNothing,
		"command":                 TestCommandRunsInTheMount,
		"command after unmount":   TestCommandAfterTheUnmount,
		"remote":                  TestRemote,
		"remote that is gone":     TestRemoteOfAMountThatIsGone,
		"two mounts at one path":  TestTwoMountsAtOnePath,
		"dead record":             TestDeadRecordBesideANewMount,
		"another dead mount":      TestCleanUpLeavesAnotherDeadMount,
		"what lies over":          TestDetachLeavesWhatLiesOverTheMount,
		"cancelled":               TestOpenCanBeCancelled,
		"busy":                    TestBusyIsNamedAndCanBeClosedAgain,
		"another namespace":       TestCopyInAnotherNamespaceIsBusy,
		"ended by something else": TestMountEndedBySomethingElseIsNotStored,
		"aborted":                 TestAbortedConnection,
		"umount":                  TestUmountEndsTheMount,
		"umount after busy":       TestUmountAfterABusyClose,
		"server killed":           TestServerKilled,
		"server stopped":          TestServerStopped,
		"client killed":           TestClientKilled,
		"both killed":             TestBothKilledIsClearedAwayByTheNextOpen,
		"spill of the killed":     TestSpillOfTheKilledIsClearedAway,
		"one CPU":                 TestOneCPU,
		"commit while closing":    TestCommitWhileCloseWaits,
		"abandon while closing":   TestAbandonWhileCloseWaits,
		"commit after decision":   TestCommitAfterTheDecision,
		"panics":                  TestPanicsStayWithTheirMount,
		"revoke":                  TestRevoke,
		"revoked, stopped server": TestRevokeWithAStoppedServer,
		"replaced base":           TestReplacedBase,
		"room of the archive":     TestContentOfTheArchiveMakesRoom,
		"max bytes":               TestMaxBytes,
		"spill":                   TestSpill,
		"owner":                   TestOwner,
		"devices":                 TestDeviceNodesByOption,
		"bad archives":            TestBadArchives,
		"local file system":       TestMountIsALocalFileSystem,
		"overlapping attempts":    TestOverlappingAttempts,
		"killed by conflict":      TestServerKilledByConflict,
		"is ours":                 TestWhatTheKernelSaysOfAPath,
	} {
		t.Run(name, test)
	}
}
