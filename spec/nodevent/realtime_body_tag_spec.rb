# frozen_string_literal: true

# P-03: only the real body tag changes. `|` marks where the attribute belongs; without it, the page has no body tag.
RSpec.describe NoDevent::Realtime::BodyTag do
  pages = [
    "<html><head><title>x</title></head><body|>text",
    "<BODY| class='a'>", "<body\n| id=x>".sub("\n|", "|\n"), "<body|/>",
    # Comments end where browsers end them.
    "<!-- <body> --><body|>", "<!--><body|>", "<!---><body|>", "<!-- --!><body|>", "<!-- a -- b > <body> --><body|>",
    "<!doctype html><body|>", "<?php <body ?><body|>", "</ <body><body|>", "<!-- <body>",
    # Scripts, with the states in which `</script>` does not end them.
    "<script>'<body>'</script><body|>", "<script src=x /><body></script><body|>",
    "<script><!-- </script><body|>", "<script><!-- <script> </script> <body> --></script><body|>",
    "<script><!--></script><body|>", "<SCRIPT>'</scripting><body>'</SCRIPT ><body|>", "<script>'<body>'",
    # Other elements whose contents are text.
    "<title><body></title><body|>", "<style>a > b { content: '<body>' }</style><body|>",
    "<noscript><body></noscript><body|>", "<textarea><body>", "<iframe><body></iframe><body|>",
    "<template><template></template><body></template><body|>", "<plaintext><body>",
    # Attributes.
    "<meta content=\"<body>\"><body|>", "<meta content='<body>'><body|>", "<a b = '>'><body|>", "<p a=x<body><body|>",
    "<p a\"b><body|>", "<p a=><body|>", "<p a= ><body|>", "<p/class=x><body|>",
    # Names that only begin alike, and what is no tag.
    "<bodyguard><body|>", "<body-x><body|>", "a < b <body|>", "<<body|>", "<body", "<body class=\"", "<p title=\"<body>",
    "text", ""
  ]

  pages.each do |page|
    it "reads #{page.inspect}" do
      html = page.sub("|", "")
      expect(described_class.offset(html.b)).to eq(page.index("|"))
    end
  end

  it "finds the tag in bytes that are not UTF-8" do
    expect(described_class.offset("<title>\xE4\xFF</title><body>".b)).to eq(22)
  end

  # Pages come from the application, and parts of them from its users.
  it "reads pages that are made to be slow in linear time" do
    parts = ["<p a", "<!--", "<script><!--<script>", "<a b=\"", "</", "<title>", "<p a='", "<a ", "<p =", "<template>", "<p a=\"'"]
    clock = -> { Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) }
    times = parts.map do |part|
      small, large = [20_000, 200_000].map do |count|
        html = (part * count).b
        Array.new(3) { clock.call.then { |start| [described_class.offset(html), clock.call - start].last } }.min
      end
      large / [small, 0.002].max
    end
    # Quadratic time would be a hundred times as much.
    expect(times.max).to be < 40
  end
end
