package stores

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Proxy stands before a server and decides which fault each request meets.
type Proxy struct {
	Address string // host and port
	// Answer may answer a request in the place of the server, and reports whether it
	// did. It is set before the first request; nil leaves all to the server.
	Answer func(w http.ResponseWriter, r *http.Request) bool
	// Latency is how long each request is on its way, as to a distant bucket. It is set
	// before the first request.
	Latency time.Duration

	server *Server
	choose func(*http.Request) Fault
	front  *http.Server
	late   sync.WaitGroup // requests that reach the server after their sender gave up

	mu       sync.Mutex
	met      map[Fault]int // how often each fault was met; guarded by mu
	answered chan struct{} // closed, and another one, with each answer; guarded by mu
}

// Fault is what becomes of a request.
type Fault string

// Faults. They keep what networks, load balancers and servers under load do.
const (
	None        Fault = "none"
	LoseRequest Fault = "request lost" // the connection is cut before the server has it
	CutRequest  Fault = "request cut"  // the server gets a half of it
	LoseAnswer  Fault = "answer lost"  // the server did it, the connection is cut
	CutAnswer   Fault = "answer cut"   // the sender gets a half of the answer
	Delay       Fault = "delayed"      // another request goes first
	Late        Fault = "late"         // the connection is cut, and the server gets it later
	Duplicate   Fault = "duplicated"   // the server gets it twice, the sender the first answer
	Repeat      Fault = "repeated"     // likewise, and the sender gets the second answer
	Error500    Fault = "500"          // and the server does not get it
	Error503    Fault = "503"          // likewise
	Error429    Fault = "429"          // likewise
	Done500     Fault = "500 after it" // the server did it
	Done503     Fault = "503 after it" // likewise
)

// Faults are all but None.
var Faults = []Fault{
	LoseRequest, CutRequest, LoseAnswer, CutAnswer, Delay, Late, Duplicate, Repeat,
	Error500, Error503, Error429, Done500, Done503,
}

// NewProxy starts a proxy before a server. choose returns the fault of a request, whose body
// it may read; it may also hold the request back. The caller closes the proxy.
func NewProxy(server *Server, choose func(*http.Request) Fault) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Address: l.Addr().String(), server: server, choose: choose, met: map[Fault]int{}, answered: make(chan struct{})}
	p.front = &http.Server{Handler: p}
	go func() { _ = p.front.Serve(l) }() // ends with Close
	return p, nil
}

// Close ends the proxy, once the server has all late requests.
func (p *Proxy) Close() error {
	err := p.front.Close()
	p.late.Wait()
	return err
}

// Settle waits until the server has all late requests.
func (p *Proxy) Settle() { p.late.Wait() }

// Met reports how often each fault was met.
func (p *Proxy) Met() map[Fault]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.met)
}

// BySeed chooses one of faults for about one request of every so many, as follows
// from a seed and the order of requests.
func BySeed(seed uint64, every int, faults []Fault) func(*http.Request) Fault {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0))
	return func(*http.Request) Fault {
		mu.Lock()
		defer mu.Unlock()
		if rng.IntN(every) != 0 {
			return None
		}
		return faults[rng.IntN(len(faults))]
	}
}

// holdLimit is how long a request is held back where no other one comes.
const holdLimit = 50 * time.Millisecond

// ServeHTTP lets one request meet its fault.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender gave up
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !p.travel(r) {
		return
	}
	if p.Answer != nil && p.Answer(w, r) {
		return
	}
	x := &exchange{p: p, w: w, r: r, body: body}
	fault := p.choose(r)
	p.mu.Lock()
	p.met[fault]++
	p.mu.Unlock()
	defer p.tellAnswered()
	x.meet(fault)
}

// travel waits for Latency. It reports whether the sender still waits too.
func (p *Proxy) travel(r *http.Request) bool {
	timer := time.NewTimer(p.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// tellAnswered lets those go on that are held back.
func (p *Proxy) tellAnswered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.answered)
	p.answered = make(chan struct{})
}

// hold waits until another request has been answered.
func (p *Proxy) hold() {
	p.mu.Lock()
	answered := p.answered
	p.mu.Unlock()
	timer := time.NewTimer(holdLimit)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	}
}

// exchange is one request.
type exchange struct {
	p    *Proxy
	w    http.ResponseWriter
	r    *http.Request
	body []byte
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (x *exchange) meet(fault Fault) {
	switch fault {
	case LoseRequest:
		x.cut()
	case CutRequest:
		x.sendHalf()
		x.cut()
	case LoseAnswer:
		_, _ = x.send()
		x.cut()
	case CutAnswer:
		x.giveHalf(x.send())
	case Delay:
		x.p.hold()
		x.give(x.send())
	case Late:
		x.p.late.Go(func() {
			x.p.hold()
			_, _ = x.send()
		})
		x.cut()
	case Duplicate:
		a, err := x.send()
		_, _ = x.send()
		x.give(a, err)
	case Repeat:
		_, _ = x.send()
		x.give(x.send())
	case Error500, Error503, Error429:
		x.refuse(fault)
	case Done500, Done503:
		_, _ = x.send()
		x.refuse(fault)
	default:
		x.give(x.send())
	}
}

// cut cuts the sender's connection, so that it is reset.
func (x *exchange) cut() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // this cuts it too
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // only changes how it ends
	}
	conn.Close()
}

var statuses = map[Fault]int{
	Error500: http.StatusInternalServerError, Done500: http.StatusInternalServerError,
	Error503: http.StatusServiceUnavailable, Done503: http.StatusServiceUnavailable,
	Error429: http.StatusTooManyRequests,
}

// refuse answers as an overloaded server does.
func (x *exchange) refuse(fault Fault) {
	http.Error(x.w, "the proxy says so", statuses[fault])
}

// message is the request as it goes to the server: the same path, to the byte, and
// the same Host, which the signature is about. But fake-gcs-server knows the paths
// of downloads only under its own name.
func (x *exchange) message() []byte {
	host := x.r.Host
	if x.p.server.Kind == GS {
		host = x.p.server.Address
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", x.r.Method, x.r.RequestURI, host)
	header := x.r.Header.Clone()
	for _, name := range []string{"Connection", "Expect", "Content-Length", "Transfer-Encoding"} {
		header.Del(name)
	}
	if len(x.body) > 0 || x.r.Method == http.MethodPut || x.r.Method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(x.body))
	}
	_ = header.Write(&b) // a Buffer does not fail
	b.WriteString("\r\n")
	b.Write(x.body)
	return b.Bytes()
}

// send sends the request to the server and reads its answer.
func (x *exchange) send() (*answer, error) {
	conn, err := net.Dial("tcp", x.p.server.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(x.message()); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), x.r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, body}, err
}

// sendHalf sends a half of the request and hangs up.
func (x *exchange) sendHalf() {
	conn, err := net.Dial("tcp", x.p.server.Address)
	if err != nil {
		return
	}
	defer conn.Close()
	message := x.message()
	_, _ = conn.Write(message[:len(message)-len(x.body)/2-1]) // the server may hang up first
}

// give passes the server's answer to the sender. Where there was none, it gets none.
func (x *exchange) give(a *answer, err error) {
	if err != nil {
		x.cut()
		return
	}
	x.begin(a)
	_, _ = x.w.Write(a.body) // the sender may have gone
}

// giveHalf passes half of the answer to the sender.
func (x *exchange) giveHalf(a *answer, err error) {
	if err != nil || len(a.body) == 0 {
		x.cut()
		return
	}
	x.begin(a)
	_, _ = x.w.Write(a.body[:len(a.body)/2]) // the sender may have gone
	_ = http.NewResponseController(x.w).Flush()
	x.cut()
}

// begin sends the head of the answer.
func (x *exchange) begin(a *answer) {
	for name, values := range a.header {
		if name == "Connection" {
			continue
		}
		for _, value := range values {
			// An upload continues at the address returned by the server.
			x.w.Header().Add(name, strings.ReplaceAll(value, x.p.server.Address, x.p.Address))
		}
	}
	if x.r.Method != http.MethodHead {
		x.w.Header().Set("Content-Length", fmt.Sprint(len(a.body)))
	}
	x.w.WriteHeader(a.status)
}
