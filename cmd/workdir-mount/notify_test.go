package main

import (
	"net"
	"path/filepath"
	"testing"
)

func TestNotifyManager(t *testing.T) {
	for name, address := range map[string]string{"path": filepath.Join(t.TempDir(), "notify"), "abstract": "@workdir-test-" + filepath.Base(t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer manager.Close()
			t.Setenv("NOTIFY_SOCKET", address)
			if err := notifyManager("READY=1"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 64)
			n, err := manager.Read(got)
			if err != nil || string(got[:n]) != "READY=1" {
				t.Errorf("%q, %v", got[:n], err)
			}
		})
	}
	t.Setenv("NOTIFY_SOCKET", "/no/such/socket")
	if notifyManager("READY=1") == nil {
		t.Error("no error where nobody listens")
	}
}
