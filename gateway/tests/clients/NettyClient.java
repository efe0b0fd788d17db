import io.netty.bootstrap.Bootstrap;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.handler.codec.http.DefaultHttpHeaders;
import io.netty.handler.codec.http.HttpClientCodec;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketClientHandshakerFactory;
import io.netty.handler.codec.http.websocketx.WebSocketClientProtocolHandler;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketVersion;
import io.netty.handler.codec.http.websocketx.extensions.compression.WebSocketClientCompressionHandler;
import java.net.URI;

/**
 * Netty with its compression handler as it comes. {@code NettyClient URL MESSAGE...} sends each message when
 * the one before was answered, prints every message that comes, and ends with the answer to the last.
 */
public final class NettyClient extends SimpleChannelInboundHandler<WebSocketFrame> {
    private final String[] messages;
    private int sent;

    private NettyClient(String[] messages) {
        this.messages = messages;
    }

    public static void main(String[] args) throws Exception {
        URI uri = new URI(args[0]);
        String[] messages = java.util.Arrays.copyOfRange(args, 1, args.length);
        NioEventLoopGroup group = new NioEventLoopGroup(1);
        try {
            Bootstrap bootstrap = new Bootstrap().group(group).channel(NioSocketChannel.class);
            bootstrap.handler(new ChannelInitializer<SocketChannel>() {
                @Override
                protected void initChannel(SocketChannel channel) {
                    channel.pipeline().addLast(
                        new HttpClientCodec(),
                        new HttpObjectAggregator(8192),
                        WebSocketClientCompressionHandler.INSTANCE,
                        new WebSocketClientProtocolHandler(WebSocketClientHandshakerFactory.newHandshaker(
                            uri, WebSocketVersion.V13, null, true, new DefaultHttpHeaders(), 1 << 20)),
                        new NettyClient(messages));
                }
            });
            bootstrap.connect(uri.getHost(), uri.getPort()).sync().channel().closeFuture().sync();
        } finally {
            group.shutdownGracefully(0, 1, java.util.concurrent.TimeUnit.SECONDS);
        }
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext context, Object event) {
        if (event == WebSocketClientProtocolHandler.ClientHandshakeStateEvent.HANDSHAKE_COMPLETE) {
            send(context);
        }
    }

    @Override
    protected void channelRead0(ChannelHandlerContext context, WebSocketFrame frame) {
        if (!(frame instanceof TextWebSocketFrame)) {
            return;
        }
        String text = ((TextWebSocketFrame) frame).text();
        System.out.println(text);
        if (text.contains("\"op\":\"snapshot\"") || text.contains("\"op\":\"pong\"")) {
            send(context);
        }
    }

    private void send(ChannelHandlerContext context) {
        if (sent < messages.length) {
            context.writeAndFlush(new TextWebSocketFrame(messages[sent++]));
        } else {
            context.writeAndFlush(new CloseWebSocketFrame(1000, ""));
            context.close();
        }
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
        cause.printStackTrace();
        System.exit(1);
    }
}
