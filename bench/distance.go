package main

import (
	"net"
	"sync"
	"time"
)

// distance relays connections to simulate a distant server: bytes arrive half a round trip
// later, whatever their number.
type distance struct {
	listener net.Listener
	server   string
	delay    time.Duration // of each direction
	relays   sync.WaitGroup
}

// startDistance makes a server reachable at an address with the given round-trip time.
func startDistance(server string, roundTrip time.Duration) (*distance, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &distance{listener: l, server: server, delay: roundTrip / 2}
	d.relays.Go(d.accept)
	return d, nil
}

func (d *distance) address() string { return d.listener.Addr().String() }

// stop ends it once all connections are closed.
func (d *distance) stop() error {
	err := d.listener.Close()
	d.relays.Wait()
	return err
}

func (d *distance) accept() {
	for {
		from, err := d.listener.Accept()
		if err != nil {
			return // it was closed
		}
		to, err := net.Dial("tcp", d.server)
		if err != nil {
			_ = from.Close()
			continue
		}
		d.relays.Go(func() { d.relay(to, from) })
		d.relays.Go(func() { d.relay(from, to) })
	}
}

// parcel is some bytes and their arrival time.
type parcel struct {
	bytes []byte
	at    time.Time
}

// inFlight is the maximum number of parcels in flight on one connection: 64 MiB.
const inFlight = 1024

// relay carries bytes from one end to the other. The end of the bytes ends both.
func (d *distance) relay(to, from net.Conn) {
	parcels := make(chan parcel, inFlight)
	d.relays.Go(func() {
		defer to.Close()
		for p := range parcels {
			time.Sleep(time.Until(p.at))
			if _, err := to.Write(p.bytes); err != nil {
				_ = from.Close() // which ends the other half
			}
		}
	})
	defer close(parcels)
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if n > 0 {
			parcels <- parcel{buf[:n], time.Now().Add(d.delay)}
		}
		if err != nil {
			return
		}
	}
}
