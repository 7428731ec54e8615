package testenv

import (
	"os"
	"os/signal"
	"syscall"
)

// HearSignals lets this process take the signals that it was started to ignore, as
// nohup does, since what it starts would ignore them too.
func HearSignals() {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}
