# frozen_string_literal: true

require "cgi/escape"

module NoDevent
  # HTML without a view of Rails. It knows what is marked as safe if Active Support is loaded.
  # @api private
  module Markup
    # What ends the name of an attribute in HTML.
    NOT_A_NAME = %r{[\s"'<>/=\p{Cntrl}]}

    private_constant :NOT_A_NAME

    class << self
      # @param name [String] of the element
      # @param attributes [Hash] names and values. `data:` is a Hash, whose names get the prefix `data-` and hyphens;
      #   an attribute that is true has no value, and one that is false or nil is left out
      # @param content [String] HTML
      # @return [String] the element, marked as safe
      def element(name, attributes, content = "")
        data = (attributes[:data] || {}).transform_keys { |key| "data-#{key.to_s.tr('_', '-')}" }
        html = attributes.except(:data).merge(data).filter_map { |key, value| attribute(key, value) }.join
        safe("<#{name}#{html}>#{content}</#{name}>")
      end

      # @return [String] the text as HTML; what is marked as safe is HTML already
      def escape(text)
        text = text.to_s
        text.respond_to?(:html_safe?) && text.html_safe? ? text : CGI.escapeHTML(text)
      end

      # @return [String] the HTML, marked as safe
      def safe(html)
        html.respond_to?(:html_safe) ? html.html_safe : html
      end

      private

      def attribute(name, value)
        return if value.nil? || value == false

        name = name.to_s.gsub(NOT_A_NAME, "_")
        value == true ? " #{name}" : %( #{name}="#{CGI.escapeHTML(value.to_s)}")
      end
    end
  end
end
