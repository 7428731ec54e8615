package temporal

import (
	"fmt"
	"net"
	"path"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // the SDK may compress
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// call is one request of a worker on its way to the Temporal server.
type call struct {
	Method  string // such as "RespondActivityTaskCompleted"
	request frame
	reply   frame
}

// Request decodes what the worker sent into m.
func (c *call) Request(m proto.Message) error { return proto.Unmarshal(c.request, m) }

// Reply decodes into m what the server answered, once it was forwarded.
func (c *call) Reply(m proto.Message) error { return proto.Unmarshal(c.reply, m) }

// handler determines the fate of a call: forward passes it to the server and waits for the
// answer. What the handler returns, the worker gets: the server's answer if it is nil, else
// the error. Calls come concurrently.
type handler func(c *call, forward func() error) error

// proxy stands between one worker process and the Temporal server.
type proxy struct {
	address string // host and port
	front   *grpc.Server
	back    *grpc.ClientConn

	mu        sync.Mutex
	intercept handler // guarded by mu; nil: every call is forwarded
}

// maxMessage is beyond what Temporal allows in one message.
const maxMessage = 128 << 20

// newProxy starts a proxy before the server at an address. The caller closes it.
func newProxy(server string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	back, err := grpc.NewClient("passthrough:///"+server,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(frameCodec{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		l.Close()
		return nil, err
	}
	p := &proxy{address: l.Addr().String(), back: back}
	p.front = grpc.NewServer(grpc.UnknownServiceHandler(p.handle), grpc.ForceServerCodecV2(frameCodec{}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	go func() { _ = p.front.Serve(l) }() // ends with close
	return p, nil
}

func (p *proxy) close() {
	p.front.Stop()
	_ = p.back.Close() // nothing of it is wanted any more
}

// set takes a handler for the calls that begin from now on; nil for none.
func (p *proxy) set(h handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intercept = h
}

func (p *proxy) current() handler {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.intercept
}

// handle passes one call on; all of Temporal's are unary. It ends when the worker
// dies or gives up.
func (p *proxy) handle(_ any, stream grpc.ServerStream) error {
	full, ok := grpc.MethodFromServerStream(stream)
	if !ok {
		return fmt.Errorf("a call without a method")
	}
	c := &call{Method: path.Base(full)}
	if err := stream.RecvMsg(&c.request); err != nil {
		return err
	}
	forward := func() error { return p.forward(stream, full, c) }
	var err error
	if h := p.current(); h != nil {
		err = h(c, forward)
	} else {
		err = forward()
	}
	if err != nil {
		return err
	}
	return stream.SendMsg(&c.reply)
}

func (p *proxy) forward(stream grpc.ServerStream, method string, c *call) error {
	ctx := stream.Context()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, ownHeaders(md))
	}
	var header, trailer metadata.MD
	err := p.back.Invoke(ctx, method, &c.request, &c.reply, grpc.Header(&header), grpc.Trailer(&trailer))
	_ = stream.SetHeader(ownHeaders(header)) // fails where the worker is gone
	stream.SetTrailer(ownHeaders(trailer))
	return err
}

// ownHeaders are those of the application: the others belong to one connection.
func ownHeaders(md metadata.MD) metadata.MD {
	own := md.Copy()
	for _, name := range []string{":authority", "content-type", "user-agent", "grpc-accept-encoding"} {
		own.Delete(name)
	}
	return own
}

// frame is a message that is passed on as it came.
type frame []byte

// frameCodec passes frames. Its name is that of what is in them.
type frameCodec struct{}

func (frameCodec) Name() string { return "proto" }

func (frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("marshal %T: not a frame", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*f)}, nil
}

func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("unmarshal %T: not a frame", v)
	}
	*f = data.Materialize()
	return nil
}
