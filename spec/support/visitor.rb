# frozen_string_literal: true

require "net/http"

# A browser with its cookies, for an application and a server on two ports of one host.
class Visitor
  # A response, with the id of the page if it is one.
  Page = Struct.new(:status, :headers, :body) do
    def id
      body[/<body[^>]* data-socket-connection-id="(\h{64})"/, 1]
    end
  end

  attr_reader :cookies

  def initialize(application, server)
    @application = application
    @server = server
    @cookies = {}
  end

  def get(path, headers: {})
    request(Net::HTTP::Get.new(path), headers)
  end

  # @param form [Hash] the fields
  def post(path, headers: {}, **form)
    post = Net::HTTP::Post.new(path)
    post.set_form_data(form)
    request(post, headers)
  end

  # Opens the socket of a page.
  # @param page [Page, String, nil] a page, or an id
  def open(page, server: @server, path: "/", cookies: header, **headers)
    id = page.is_a?(Page) ? page.id : page
    query = "?socket_connection_id=#{id}" if id
    sent = { "Cookie" => cookies }.reject { |_, value| value.empty? }
    WebSocket.new(server.port, "#{path}#{query}", sent.merge(headers.transform_keys(&:to_s)))
  end

  # The value of the header `Cookie`.
  def header
    cookies.map { |pair| pair.join("=") }.join("; ")
  end

  private

  def request(request, headers)
    request["Cookie"] = header unless cookies.empty?
    headers.each { |name, value| request[name] = value }
    response = Net::HTTP.start("127.0.0.1", @application.port, read_timeout: 60) { |http| http.request(request) }
    keep(response.get_fields("set-cookie") || [])
    Page.new(response.code.to_i, response.each_header.to_h, response.body.to_s)
  end

  def keep(lines)
    lines.each do |line|
      name, value = line[/\A[^;]+/].split("=", 2)
      line.match?(/max-age=0/i) ? cookies.delete(name) : cookies[name] = value
    end
  end
end
