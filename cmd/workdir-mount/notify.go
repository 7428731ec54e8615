package main

import (
	"net"
	"os"
)

// notifyManager notifies the service manager, if there is one, of a state change such as
// READY=1: sd_notify(3).
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
