// Package ipc carries calls between two processes over a stream socket, both
// ways at once: either side may call, answer, notify and cancel.
//
// A frame is a length (four bytes, little endian) and that many bytes of JSON.
// Frames are written by one goroutine from a bounded queue, so that a peer that
// has been stopped never blocks a caller for longer than the caller's context.
package ipc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxFrame bounds what a peer can make us allocate, in bytes.
const maxFrame = 16 << 20

// queueLen is the number of frames that may wait for the socket.
const queueLen = 256

// ErrClosed is the error of calls once the connection has ended.
var ErrClosed = errors.New("connection closed")

// Handler answers the calls and notifications of the peer. Each runs in a
// goroutine of its own; ctx ends when the peer cancels the call or the
// connection ends. The answer of a notification is dropped.
type Handler func(ctx context.Context, c *Conn, method string, body json.RawMessage) (any, error)

// Codec turns errors into JSON and back, so that errors.Is and errors.As work
// on the other side.
type Codec struct {
	Encode func(error) json.RawMessage
	Decode func(json.RawMessage) error
}

type frame struct {
	ID     uint64          `json:"id,omitempty"` // 0: a notification
	Kind   kind            `json:"kind"`
	Method string          `json:"method,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"`
	Err    json.RawMessage `json:"err,omitempty"`
}

type kind string

const (
	kindCall   kind = "call"
	kindReply  kind = "reply"
	kindNotify kind = "notify"
	kindCancel kind = "cancel"
)

// outgoing is a frame in the queue, or, with sent, a request to signal when everything before
// it has been written.
type outgoing struct {
	frame []byte
	sent  chan struct{}
}

// Conn is one end of a connection. Its methods may be called from several
// goroutines.
type Conn struct {
	rw      io.ReadWriteCloser // immutable
	handler Handler            // immutable
	codec   Codec              // immutable
	out     chan outgoing
	done    chan struct{}
	once    sync.Once

	mu      sync.Mutex
	active  int                           // guarded by mu; handlers of calls that run
	idle    []chan struct{}               // guarded by mu; closed when active becomes 0
	nextID  uint64                        // guarded by mu
	waiting map[uint64]chan frame         // guarded by mu; our calls
	running map[uint64]context.CancelFunc // guarded by mu; the peer's calls
}

// New starts a connection over rw, which it owns from now on.
func New(rw io.ReadWriteCloser, h Handler, codec Codec) *Conn {
	c := &Conn{
		rw: rw, handler: h, codec: codec,
		out:     make(chan outgoing, queueLen),
		done:    make(chan struct{}),
		waiting: map[uint64]chan frame{},
		running: map[uint64]context.CancelFunc{},
	}
	go c.readLoop()
	go c.writeLoop()
	return c
}

// Done is closed when the connection has ended, by either side.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection. Pending calls return ErrClosed; handlers are cancelled but not
// waited for (see Drain).
func (c *Conn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.done)
		err = c.rw.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, cancel := range c.running {
			cancel()
		}
	})
	return err
}

// Drain waits until no handler runs and every answer has been handed to the
// socket, or ctx ends.
func (c *Conn) Drain(ctx context.Context) {
	idle := make(chan struct{})
	c.mu.Lock()
	if c.active == 0 {
		close(idle)
	} else {
		c.idle = append(c.idle, idle)
	}
	c.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
		return
	}
	sent := make(chan struct{})
	select {
	case c.out <- outgoing{sent: sent}:
	case <-c.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-sent:
	case <-c.done:
	case <-ctx.Done():
	}
}

// Call calls the peer and decodes its answer into out, unless out is nil. If ctx ends first,
// Call notifies the peer and returns ctx's cause.
func (c *Conn) Call(ctx context.Context, method string, in, out any) error {
	id, answer, err := c.ask(ctx, method, in)
	defer c.forget(id)
	if err != nil {
		return err
	}
	select {
	case f := <-answer:
		return c.result(f, out)
	case <-ctx.Done():
		c.trySend(frame{ID: id, Kind: kindCancel})
		return context.Cause(ctx)
	case <-c.done:
		return c.last(answer, out)
	}
}

// CallToEnd is Call for calls that must have a definite outcome: when ctx ends the peer is
// notified, but CallToEnd still waits for its answer.
func (c *Conn) CallToEnd(ctx context.Context, method string, in, out any) error {
	id, answer, err := c.ask(context.WithoutCancel(ctx), method, in)
	defer c.forget(id)
	if err != nil {
		return err
	}
	// After the call in the queue, so that the peer knows what to cancel.
	stop := context.AfterFunc(ctx, func() {
		_ = c.send(context.Background(), frame{ID: id, Kind: kindCancel}) // fails only if the connection has ended
	})
	defer stop()
	select {
	case f := <-answer:
		return c.result(f, out)
	case <-c.done:
		return c.last(answer, out)
	}
}

// last returns an answer that arrived before the end of the connection; else ErrClosed.
func (c *Conn) last(answer <-chan frame, out any) error {
	select {
	case f := <-answer:
		return c.result(f, out)
	default:
		return ErrClosed
	}
}

// ask sends a call. The caller must always call forget.
func (c *Conn) ask(ctx context.Context, method string, in any) (id uint64, answer <-chan frame, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, nil, fmt.Errorf("call %s: %w", method, err)
	}
	wait := make(chan frame, 1)
	c.mu.Lock()
	c.nextID++
	id = c.nextID
	c.waiting[id] = wait
	c.mu.Unlock()
	return id, wait, c.send(ctx, frame{ID: id, Kind: kindCall, Method: method, Body: body})
}

// forget ends the wait for an answer.
func (c *Conn) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

func (c *Conn) result(f frame, out any) error {
	if len(f.Err) > 0 {
		return c.codec.Decode(f.Err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(f.Body, out)
}

// Notify sends a notification to the peer without waiting. If the peer does not keep up the
// notification is dropped.
func (c *Conn) Notify(method string, in any) {
	body, err := json.Marshal(in)
	if err != nil {
		return
	}
	c.trySend(frame{Kind: kindNotify, Method: method, Body: body})
}

// trySend drops the frame if the peer does not keep up.
func (c *Conn) trySend(f frame) {
	b, err := encode(f)
	if err != nil {
		return
	}
	select {
	case c.out <- outgoing{frame: b}:
	default:
	}
}

func (c *Conn) send(ctx context.Context, f frame) error {
	b, err := encode(f)
	if err != nil {
		return err
	}
	select {
	case c.out <- outgoing{frame: b}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return ErrClosed
	}
}

func encode(f frame) ([]byte, error) {
	body, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if len(body) > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes is over the limit of %d", len(body), maxFrame)
	}
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return append(b, body...), nil
}

func (c *Conn) writeLoop() {
	defer c.Close()
	for {
		select {
		case o := <-c.out:
			if o.sent != nil {
				close(o.sent)
				continue
			}
			if _, err := c.rw.Write(o.frame); err != nil {
				return
			}
		case <-c.done:
			return
		}
	}
}

func (c *Conn) readLoop() {
	defer c.Close()
	for {
		f, err := readFrame(c.rw)
		if err != nil {
			return
		}
		switch f.Kind {
		case kindReply:
			c.mu.Lock()
			answer := c.waiting[f.ID]
			delete(c.waiting, f.ID)
			c.mu.Unlock()
			if answer != nil {
				answer <- f
			}
		case kindCancel:
			c.mu.Lock()
			cancel := c.running[f.ID]
			c.mu.Unlock()
			if cancel != nil {
				cancel()
			}
		case kindCall, kindNotify:
			c.handle(f)
		default:
			return
		}
	}
}

func readFrame(r io.Reader) (frame, error) {
	var f frame
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxFrame {
		return f, fmt.Errorf("frame of %d bytes is over the limit of %d", n, maxFrame)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return f, err
	}
	return f, json.Unmarshal(body, &f)
}

// handle starts the handler of one call. Notifications are handled in the
// order of their arrival, before anything that comes after them.
func (c *Conn) handle(f frame) {
	ctx, cancel := context.WithCancel(context.Background())
	if f.Kind == kindNotify {
		defer cancel()
		_, _ = c.handler(ctx, c, f.Method, f.Body) // the answer of a notification is dropped
		return
	}
	c.mu.Lock()
	c.running[f.ID] = cancel
	c.active++
	c.mu.Unlock()
	select {
	case <-c.done: // Close may have missed this one
		cancel()
	default:
	}
	go func() {
		defer cancel()
		select {
		case c.out <- outgoing{frame: c.answer(ctx, f)}:
		case <-c.done:
		}
		c.finished(f.ID)
	}()
}

func (c *Conn) finished(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, id)
	c.active--
	if c.active > 0 {
		return
	}
	for _, idle := range c.idle {
		close(idle)
	}
	c.idle = nil
}

// answer returns the frame of the answer. An answer that cannot be sent, such as one over the
// limit, becomes an error, since the caller waits for one.
func (c *Conn) answer(ctx context.Context, f frame) []byte {
	reply := frame{ID: f.ID, Kind: kindReply}
	out, err := c.handler(ctx, c, f.Method, f.Body)
	if err == nil {
		reply.Body, err = json.Marshal(out)
	}
	if err != nil {
		reply.Body, reply.Err = nil, c.codec.Encode(err)
	}
	b, err := encode(reply)
	if err != nil {
		err = fmt.Errorf("answer to %s: %w", f.Method, err)
		b, _ = encode(frame{ID: f.ID, Kind: kindReply, Err: c.codec.Encode(err)}) // short, and so never fails
	}
	return b
}
