# Mojolicious' user agent with compression. `mojo_client.pl URL MESSAGE...` sends each message when the one
# before was answered, prints every message that comes, and ends with the answer to the last.
use Mojo::Base -strict, -signatures;
use Mojo::UserAgent;
use Mojo::IOLoop;

binmode STDOUT, ':encoding(UTF-8)';
my ($url, @messages) = @ARGV;
my $failed = 'nothing came';
my $agent = Mojo::UserAgent->new;
my $start = $agent->build_websocket_tx($url => {'Sec-WebSocket-Extensions' => 'permessage-deflate'});
$agent->start($start => sub ($agent, $tx) {
  unless ($tx->is_websocket) {
    $failed = 'no WebSocket: ' . ($tx->res->code // 'no answer');
    return Mojo::IOLoop->stop;
  }
  my $next = sub {
    return $tx->send(shift @messages) if @messages;
    undef $failed;
    $tx->finish(1000);
  };
  $tx->on(finish => sub ($tx, $code, $reason) {
    $failed = "closed with $code " . ($reason // '') if @messages;
    Mojo::IOLoop->stop;
  });
  $tx->on(text => sub ($tx, $text) {
    print "$text\n";
    $next->() if $text =~ /"op":"(?:snapshot|pong)"/;
  });
  $next->();
});
Mojo::IOLoop->timer(15 => sub { Mojo::IOLoop->stop });
Mojo::IOLoop->start;
die "$failed\n" if $failed;
