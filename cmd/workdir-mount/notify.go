package main

import (
	"net"
	"os"
)

// notifyManager tells the service manager of a change, such as READY=1, if there is one that
// waits for it: sd_notify(3).
func notifyManager(state string) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
