package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

func TestExitTable(t *testing.T) {
	for _, row := range exitTable {
		wrapped := fmt.Errorf("exec file:///x: %w", row.err)
		if got := exitCode(wrapped); got != row.code {
			t.Errorf("%s: exit code %d, want %d", row.name, got, row.code)
		}
	}
}

func TestExitCode(t *testing.T) {
	tests := []struct {
		name string
		in   error
		want int
	}{
		{"success", nil, 0},
		{"unreachable at commit", fmt.Errorf("%w: %w", mount.ErrCommit, store.ErrUnreachable), exitCommit},
		{"unreachable at open", store.ErrUnreachable, exitStore},
		{"full at commit", fmt.Errorf("%w: %w", mount.ErrCommit, store.ErrFull), exitCommit},
		{"writer's limit", fmt.Errorf("%w: %w", mount.ErrCommit, archive.ErrLimit), exitCommit},
		{"too large for the mount", fmt.Errorf("%w: %w", mount.ErrLimit, archive.ErrLimit), exitLimit},
		{"conflict with particulars", &store.ConflictError{Key: "k"}, exitConflict},
		{"busy with particulars", &mount.BusyError{Path: "/m"}, exitBusy},
		{"host with particulars", &mount.HostError{What: "no /dev/fuse"}, exitCannotMount},
		{"server with particulars", &mount.ServerLostError{PID: 1}, exitServerLost},
		{"command's own code", &statusError{code: 3}, 3},
		{"own code goes first", &statusError{code: exitBusy, err: store.ErrConflict}, exitBusy},
		{"usage", &usageError{command: "workdir-mount", err: errors.New("unknown flag")}, exitUsage},
		{"signal", &interruption{sig: syscall.SIGTERM, err: mount.ErrCommit}, 143},
		{"anything else", os.ErrInvalid, exitOther},
		{"deadline", context.DeadlineExceeded, exitOther},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := exitCode(test.in); got != test.want {
				t.Errorf("exit code of %v is %d, want %d", test.in, got, test.want)
			}
		})
	}
}

// errorRow is a row of docs/errors.md.
type errorRow struct {
	situation, name, errno, message string
	code                            int
}

func readErrorTable(t *testing.T) []errorRow {
	t.Helper()
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []errorRow
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 7 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		code, err := strconv.Atoi(cells[5])
		if err != nil {
			continue // the head of the table, or a row of activities
		}
		rows = append(rows, errorRow{
			situation: cells[0], name: strings.Trim(cells[1], "`"), errno: cells[2],
			code: code, message: cells[6],
		})
	}
	return rows
}

// The documented table and the one in the code must be the same, in the same
// order, since the first match counts.
func TestErrorDocument(t *testing.T) {
	rows := readErrorTable(t)
	if len(rows) != len(exitTable) {
		t.Fatalf("docs/errors.md has %d rows, the code %d", len(rows), len(exitTable))
	}
	for i, row := range rows {
		want := exitTable[i]
		if row.name != want.name || row.code != want.code {
			t.Errorf("row %d is %s with code %d, want %s with code %d", i+1, row.name, row.code, want.name, want.code)
		}
		if row.message == "" || !strings.Contains(want.err.Error(), row.message) {
			t.Errorf("%s: message %q is not in the error's text %q", row.name, row.message, want.err)
		}
		if row.situation == "" {
			t.Errorf("%s: no situation", row.name)
		}
		if row.errno != "" && !isErrno(row.errno) {
			t.Errorf("%s: unknown errno %q", row.name, row.errno)
		}
	}
}

func isErrno(name string) bool {
	for n := range syscall.Errno(200) {
		if unix.ErrnoName(n) == name {
			return true
		}
	}
	return false
}
